/** A property as it travels between the engine and a provider. */
export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };

/** A resource's inputs or outputs. */
export type Properties = Record<string, Value>;

/** What the engine sends, and expects back, for a value that only an update will make known. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

// The engine's protocol marks special values by this key; the signature below it says which kind.
const KIND = "4dabf18193072939515e22adb298388d";
const SECRET_KIND = "1b47061264138c4ac30d75fd1eb44270";

/** Whether a property is an object, that is, neither a list nor a plain value. */
export function isObject(value: Value | undefined): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether the engine would hide this value. */
export function isSecret(value: Value | undefined): boolean {
  return isObject(value) && value[KIND] === SECRET_KIND;
}

/** Marks a value so that the engine encrypts it in state and hides it on screen. */
export function secret(value: Value): Value {
  return isSecret(value) ? value : { [KIND]: SECRET_KIND, value };
}

/** The same properties without any marks of secrecy, for use, never for an answer. */
export function reveal(value: Value): Value {
  if (Array.isArray(value)) return value.map(reveal);
  if (!isObject(value)) return value;
  if (isSecret(value)) return reveal(value.value ?? null);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, reveal(inner)]));
}

/** Whether a value holds something that is not known yet. */
export function hasUnknown(value: Value | undefined): boolean {
  if (value === undefined) return false;
  if (Array.isArray(value)) return value.some(hasUnknown);
  return isObject(value) ? Object.values(value).some(hasUnknown) : value === UNKNOWN;
}

/** Whether two values are the same, secrecy included. */
export function equal(left: Value | undefined, right: Value | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((item, index) => equal(item, right[index]));
  }
  if (isObject(left) && isObject(right)) {
    const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
    return [...keys].every((key) => equal(left[key], right[key]));
  }
  return left === right;
}
