import { lockedVersions } from "../../components/SynapseVenv";
import { clientListener, type Found, SYNAPSE_PORT } from "./found";

/** The account's home, where this program has all of Synapse. */
const HOME = "/opt/synapse";

/** What this program has no place for, and what to do about it, a sentence each. Pure but for requirements/. */
export function refusals(found: Found): string[] {
  const { homeserver: config, account, mediaStore, signingKey, synapseHome } = found;
  const newest = lockedVersions().at(-1) ?? "";
  const redis = config.redis as { enabled?: boolean } | null | undefined;
  const hasWorkers =
    found.workers > 0 ||
    redis?.enabled === true ||
    Object.keys((config.instance_map as object | null) ?? {}).length > 0;
  const main = clientListener(config);
  const refuse = (when: boolean, sentence: string) => (when ? [sentence] : []);
  return [
    ...refuse(
      hasWorkers,
      "workers are in use: make it one process again (no workers, redis or instance_map in homeserver.yaml), then take it over",
    ),
    ...refuse(
      !found.isVenv,
      `Synapse is not in a virtual environment but in ${found.environment}: install it in one and restart it, so that it can be put back`,
    ),
    ...refuse(
      found.version.localeCompare(newest, "en", { numeric: true }) > 0,
      `it runs Synapse ${found.version}, newer than what requirements/ has a lock for (${newest}): run make lock VERSION=${found.version} first`,
    ),
    ...refuse(
      account !== "root" && account !== "synapse",
      `it runs as the account ${account}, and this program's is synapse: make that account, give it the files, and let ${found.unit}.service run as it first`,
    ),
    ...refuse(
      synapseHome !== null && synapseHome !== HOME,
      `the account synapse has the home ${synapseHome ?? ""}: stop the server, run usermod --home ${HOME} synapse, and start it again`,
    ),
    ...refuse(
      found.dropIns.length > 0,
      `the unit has drop-ins (${found.dropIns.join(", ")}), which would apply to the new one or be lost: put what they say into the unit's own file`,
    ),
    ...refuse(
      main?.port !== SYNAPSE_PORT,
      `it does not listen for clients on port ${SYNAPSE_PORT}: change that in homeserver.yaml's listeners and in nginx, and restart both`,
    ),
    ...refuse(
      signingKey.id === null,
      `there is no signing key in ${signingKey.path}: set signing_key_path in homeserver.yaml to where it is`,
    ),
    ...refuse(
      !mediaStore.movable,
      `the media in ${mediaStore.path} are on another file system than /opt: mount that one at ${HOME}/media_store first, and set media_store_path`,
    ),
  ];
}
