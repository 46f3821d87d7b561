import type { Purge } from "./Remains";

/** What the advice depends on. */
export interface Situation {
  /** The stack's own name. */
  readonly stack: string;
  /** Address of the machine. */
  readonly address: string;
  /** The name in user ids, and the names that nginx on the machine answers for. */
  readonly serverName: string;
  readonly servedNames: readonly string[];
  /** Whether clients have to be given the authority of the certificate. */
  readonly isSelfSigned: boolean;
  readonly hasBackups: boolean;
  /** Whether `pulumi destroy` removes the data, too. */
  readonly purge: Purge;
}

/** What an operator does after an update, a numbered line a step. Pure. */
export function nextSteps({
  stack,
  address,
  serverName,
  servedNames,
  isSelfSigned,
  hasBackups,
  purge,
}: Situation): string {
  return [
    `Let DNS name ${address} for ${servedNames.join(", ")} (A or AAAA records), and let the world reach its ports 80 and 443.`,
    ...(servedNames.includes(serverName)
      ? []
      : [
          `Let the site of ${serverName} answer /.well-known/matrix/client and /server with the outputs wellKnownClient and wellKnownServer.`,
        ]),
    ...(isSelfSigned
      ? [
          "Give clients the authority: pulumi stack output caCertificate > ca.pem; set tls.mode for a certificate that everybody trusts.",
        ]
      : []),
    hasBackups
      ? "Keep the private key of backup.recipient in two places, neither of them this machine."
      : "Warning: there are no backups. Set backup.recipient; docs/backup.md says how.",
    ...(purge === false
      ? []
      : [
          `Warning: purge is ${String(purge)}: pulumi destroy removes the database, the media and the signing key${purge === true ? ", after a last backup, which stays" : ", without a last backup"}.`,
        ]),
    "Log in as adminUserId with: pulumi stack output adminPassword --show-secrets",
    `Make accounts for people: make user STACK=${stack} NAME=alice`,
  ]
    .map((step, index) => `${index + 1}. ${step}`)
    .join("\n");
}
