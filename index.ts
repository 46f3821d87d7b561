import * as pulumi from "@pulumi/pulumi";

import { lastBackupWarning } from "./components/backupWarning";
import { Deployed } from "./components/deployed";
import { Homeserver } from "./components/Homeserver";
import { nextSteps } from "./components/nextSteps";
import { plainly } from "./components/plainly";
import { warnOfSilence } from "./components/reach";
import { refuseServerNameChange } from "./components/serverName";
import { spareDebugging } from "./components/spareDebugging";
import { wellKnownDocuments } from "./components/WellKnown";
import { readKeyFile, readSettings, type Settings } from "./config";

/** What a stack's settings say, on the machine that they name. */
async function program() {
  const { serverName, servedNames, ...settings } = readSettings();
  const deployed = new Deployed();
  await refuseServerNameChange(serverName, deployed);
  const backupWarning = askAboutBackup(settings, deployed);

  const { privateKeyFile, ...host } = settings.host;
  const homeserver = new Homeserver(serverName, {
    ...settings,
    serverName,
    servedNames,
    host: {
      ...host,
      ...(privateKeyFile !== undefined && { privateKey: readKeyFile(privateKeyFile) }),
      stack: `${pulumi.getProject()}/${pulumi.getStack()}`,
    },
  });
  warnOfSilence(host, homeserver.passed);

  const warning = await backupWarning;
  if (warning !== undefined) await pulumi.log.warn(warning);

  const { baseUrl, adminUserId, adminPassword, caCertificate } = homeserver;
  const wellKnown = wellKnownDocuments(baseUrl);
  return {
    /** The name in user ids. */
    serverName,
    /** The address that clients use. */
    baseUrl,
    /** The administrator, and its password as the stack set it (secret). */
    adminUserId,
    adminPassword,
    /** PEM; to be given to clients where the certificate is of the machine's own making, else empty. */
    caCertificate,
    /** What `/.well-known/matrix/client` and `/.well-known/matrix/server` of the server name have to answer. */
    wellKnownClient: JSON.stringify(wellKnown.client),
    wellKnownServer: JSON.stringify(wellKnown.server),
    /** The machine. */
    hostAddress: host.address,
    /** What an operator does next. */
    nextSteps: nextSteps({
      stack: pulumi.getStack(),
      address: host.address,
      serverName,
      servedNames,
      isSelfSigned: settings.tls.mode === "selfsigned",
      hasBackups: settings.backup !== undefined,
      purge: settings.purge,
    }),
  };
}

spareDebugging();

export = () => plainly(program);

/** What there is to be warned of; a stack without backups, or that was not deployed to its machine yet, asks nobody. */
async function askAboutBackup(
  { host, backup }: Pick<Settings, "host" | "backup">,
  deployed: Deployed,
): Promise<string | undefined> {
  if (!backup || backup.warnAfterHours === 0 || (await deployed.output("hostAddress")) !== host.address)
    return undefined;
  return await lastBackupWarning(host, backup.warnAfterHours);
}
