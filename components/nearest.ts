import { closest, distance } from "fastest-levenshtein";

/** The one of `candidates` that `name` is most likely a slip of; undefined where none is near. Capitals and `_-.` do not count. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, "");
  const plainNames = candidates.map(plain);
  const found = closest(plain(name), plainNames);
  const near = candidates.length > 0 && distance(plain(name), found) <= Math.max(1, Math.floor(plain(name).length / 3));
  return near ? candidates[plainNames.indexOf(found)] : undefined;
}
