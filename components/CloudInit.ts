import * as cloudinit from "@pulumi/cloudinit";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";

/** An SSH host key in OpenSSH's own formats. */
export interface SshHostKey {
  /** Private half, as in `/etc/ssh/ssh_host_ed25519_key`. Secret. */
  readonly privateKey: pulumi.Input<string>;
  /** Public half, as in `/etc/ssh/ssh_host_ed25519_key.pub`: `ssh-ed25519 AAAA…`. */
  readonly publicKey: pulumi.Input<string>;
}

/** Arguments of {@link CloudInit}. */
export interface CloudInitArgs {
  /** The machine's host name, for example `matrix.example.com`. */
  readonly hostname: pulumi.Input<string>;
  /** The account that the program logs in as. Default: `cloud-user`. `root` is possible where policy allows it. */
  readonly loginUser?: pulumi.Input<string>;
  /** Public SSH keys that may log in, in `authorized_keys` format. */
  readonly authorizedKeys: pulumi.Input<pulumi.Input<string>[]>;
  /** An ed25519 host key made beforehand, so that the key to pin in the stack is known before the machine exists. Default: made at first boot. */
  readonly hostKey?: SshHostKey;
}

interface CloudConfig {
  hostname: string;
  loginUser: string;
  authorizedKeys: string[];
  hostKey?: { privateKey: string; publicKey: string };
}

/**
 * The cloud-init user-data that makes a fresh machine ready for this program: a login user with passwordless sudo, its SSH
 * keys, and optionally the host key that the stack pins. It goes into the "user data" field of any cloud, or into a NoCloud seed.
 */
export class CloudInit extends pulumi.ComponentResource {
  /** The user-data as one MIME document. Secret when a host key is in it. */
  readonly userData: pulumi.Output<string>;

  constructor(name: string, args: CloudInitArgs, opts?: pulumi.ComponentResourceOptions) {
    super("matrix-homeserver:index:CloudInit", name, {}, opts);

    const content = pulumi
      .all([args.hostname, args.loginUser ?? "cloud-user", args.authorizedKeys, args.hostKey])
      .apply(([hostname, loginUser, authorizedKeys, hostKey]) =>
        renderCloudConfig({ hostname, loginUser, authorizedKeys, hostKey }),
      );

    this.userData = cloudinit.getConfigOutput(
      {
        gzip: false,
        base64Encode: false,
        parts: [{ contentType: "text/cloud-config", filename: "cloud-config.yaml", content }],
      },
      { parent: this },
    ).rendered;

    this.registerOutputs({ userData: this.userData });
  }
}

/** A `#cloud-config` document (YAML). Pure, so that what a machine would be told can be tested without one. */
export function renderCloudConfig(config: CloudConfig): string {
  const isRoot = config.loginUser === "root";
  const document = {
    hostname: config.hostname,
    fqdn: config.hostname,
    prefer_fqdn_over_hostname: true,
    manage_etc_hosts: "localhost",
    disable_root: !isRoot,
    ssh_pwauth: false,
    users: [
      isRoot
        ? { name: "root", ssh_authorized_keys: config.authorizedKeys }
        : {
            name: config.loginUser,
            gecos: "Deployment account",
            groups: ["systemd-journal"],
            shell: "/bin/bash",
            lock_passwd: true,
            sudo: "ALL=(ALL) NOPASSWD:ALL",
            ssh_authorized_keys: config.authorizedKeys,
          },
    ],
    ...(config.hostKey && {
      ssh_deletekeys: true,
      ssh_genkeytypes: [],
      ssh_keys: { ed25519_private: config.hostKey.privateKey, ed25519_public: config.hostKey.publicKey },
    }),
  };
  // cloud-init reads YAML 1.1, in which a name like "on" is no text.
  return `#cloud-config\n${stringify(document, { lineWidth: 0, compat: "yaml-1.1" })}`;
}
