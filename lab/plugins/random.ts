import { randomBytes, randomInt } from "node:crypto";
import { bcrypt } from "./bcrypt";
import { serve, type Failure, type Resource } from "./serve";
import { equal, isObject, isSecret, secret, UNKNOWN, type Properties, type Value } from "./values";

/** What differs from one kind of random value to another. */
interface Kind {
  /** Every input that it takes. */
  readonly inputs: string[];
  /** The one without which there is no value. */
  readonly required: string;
  /** What an input is when it is not given. */
  defaults(inputs: Properties): Properties;
  /** Optional inputs whose presence the state notes. */
  readonly noted: string[];
  readonly outputs: string[];
  readonly secrets: string[];
  /** Why no value can be made of inputs that are all there. */
  refuse?(inputs: Properties): Failure[];
  make(inputs: Properties): { id: string; values: Properties };
}

const CHARACTERS = {
  lower: "abcdefghijklmnopqrstuvwxyz",
  upper: "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
  numeric: "0123456789",
  special: "!@#$%&*()-_=+[]{}<>:?",
};

const password: Kind = {
  inputs: [
    ...["keepers", "length", "lower", "minLower", "minNumeric", "minSpecial", "minUpper", "number", "numeric"],
    ...["overrideSpecial", "special", "upper"],
  ],
  required: "length",
  defaults: (inputs) => {
    const numeric = inputs.numeric ?? inputs.number ?? true;
    const minimums = { minLower: 0, minNumeric: 0, minSpecial: 0, minUpper: 0 };
    return { lower: true, upper: true, special: true, ...minimums, number: numeric, numeric };
  },
  noted: ["keepers", "overrideSpecial"],
  outputs: ["result", "bcryptHash", "id"],
  secrets: ["result", "bcryptHash"],
  refuse: (inputs) => {
    const { alphabets, length } = passwordPlan(inputs);
    if (alphabets.length === 0) {
      return [
        { property: "length", reason: "no kind of character is allowed: allow lower, upper, numeric or special" },
      ];
    }
    const least = alphabets.reduce((sum, { minimum }) => sum + minimum, 0);
    if (length >= Math.max(least, 1)) return [];
    return [{ property: "length", reason: `must be at least 1 and at least the sum of the minimums (${least})` }];
  },
  make: (inputs) => {
    const { alphabets, length } = passwordPlan(inputs);
    const all = alphabets.map(({ characters }) => characters).join("");
    const chosen = alphabets.flatMap(({ characters, minimum }) => pick(characters, minimum));
    const result = shuffle([...chosen, ...pick(all, length - chosen.length)]).join("");
    // The value must not be its own id: ids are not encrypted.
    return { id: "none", values: { result, bcryptHash: bcrypt(result), id: "none", __meta: '{"schema_version":"3"}' } };
  },
};

const bytes: Kind = {
  inputs: ["keepers", "length"],
  required: "length",
  defaults: () => ({}),
  noted: ["keepers"],
  outputs: ["base64", "hex"],
  secrets: ["base64", "hex"],
  make: (inputs) => {
    const value = randomBytes(number(inputs.length));
    const base64 = value.toString("base64");
    return { id: base64, values: { base64, hex: value.toString("hex") } };
  },
};

const id: Kind = {
  inputs: ["byteLength", "keepers", "prefix"],
  required: "byteLength",
  defaults: () => ({}),
  noted: ["keepers", "prefix"],
  outputs: ["b64Std", "b64Url", "dec", "hex", "id"],
  secrets: [],
  make: (inputs) => {
    const value = randomBytes(number(inputs.byteLength));
    const prefix = typeof inputs.prefix === "string" ? inputs.prefix : "";
    const url = value.toString("base64url");
    const values = {
      b64Std: prefix + value.toString("base64"),
      b64Url: prefix + url,
      dec: prefix + BigInt(`0x${value.toString("hex")}`).toString(),
      hex: prefix + value.toString("hex"),
      id: url,
    };
    return { id: url, values };
  },
};

function passwordPlan(inputs: Properties) {
  const override = inputs.overrideSpecial;
  const special = typeof override === "string" && override !== "" ? override : CHARACTERS.special;
  const alphabets = [
    { allowed: inputs.lower, characters: CHARACTERS.lower, minimum: number(inputs.minLower) },
    { allowed: inputs.upper, characters: CHARACTERS.upper, minimum: number(inputs.minUpper) },
    { allowed: inputs.numeric, characters: CHARACTERS.numeric, minimum: number(inputs.minNumeric) },
    { allowed: inputs.special, characters: special, minimum: number(inputs.minSpecial) },
  ].filter(({ allowed }) => allowed === true);
  return { alphabets, length: number(inputs.length) };
}

function pick(characters: string, count: number): string[] {
  return Array.from({ length: count }, () => characters.charAt(randomInt(characters.length)));
}

function shuffle(items: string[]): string[] {
  const left = [...items];
  return items.map(() => left.splice(randomInt(left.length), 1).join(""));
}

function number(value: Value | undefined): number {
  return typeof value === "number" ? value : 0;
}

function toResource(kind: Kind): Resource {
  const withDefaults = (news: Properties): Properties => ({ ...kind.defaults(news), ...news });
  return {
    check: (news) => ({ inputs: news, failures: failures(kind, withDefaults(news)) }),
    diff: (state, _oldInputs, news) => {
      const wanted = withDefaults(news);
      const changed = kind.inputs.filter((name) => !equal(state[name], wanted[name]));
      return { changed, replaces: changed };
    },
    create: (news, { preview }) => {
      const inputs = withDefaults(news);
      const unknown = Object.fromEntries(kind.outputs.map((name) => [name, UNKNOWN]));
      const { id, values } = preview ? { id: "", values: unknown } : kind.make(inputs);
      const state = {
        ...inputs,
        ...values,
        ...(preview ? {} : { __pulumi_raw_state_delta: rawStateDelta(kind, inputs) }),
      };
      return Promise.resolve({ id, state: markSecrets(kind, state) });
    },
    read: (state) => markSecrets(kind, state),
  };
}

function failures(kind: Kind, inputs: Properties): Failure[] {
  const unknown = Object.keys(inputs).filter((name) => !kind.inputs.includes(name));
  if (unknown.length > 0) return unknown.map((property) => ({ property, reason: "this type has no such input" }));
  if (inputs[kind.required] === undefined) return [{ property: kind.required, reason: "is required" }];
  // What is not known yet is looked at again once it is.
  const known = Object.values(inputs).every((value) => value !== UNKNOWN);
  return known ? (kind.refuse?.(inputs) ?? []) : [];
}

/** A note in the state of the official plugin, which can take over a state that has it: which optional inputs were left out. */
function rawStateDelta(kind: Kind, inputs: Properties): Value {
  const notes = kind.noted.flatMap((name): [string, Value][] => {
    if (inputs[name] === undefined) return [[name, { replace: { raw: null } }]];
    return isObject(inputs[name]) ? [[name, { map: {} }]] : [];
  });
  return { obj: { ps: Object.fromEntries(notes) } };
}

function markSecrets(kind: Kind, state: Properties): Properties {
  const marked: Properties = { ...state };
  for (const name of kind.secrets) {
    const value = marked[name];
    if (value !== undefined) marked[name] = secret(value);
  }
  const delta = state.__pulumi_raw_state_delta;
  if (isObject(delta) && isObject(delta.obj) && isObject(delta.obj.ps)) {
    const notes = Object.entries(delta.obj.ps).map(([name, note]): [string, Value] => {
      const markable = isObject(note) && !isSecret(note) && note.replace !== undefined;
      return [name, markable ? secret(note) : note];
    });
    marked.__pulumi_raw_state_delta = { obj: { ps: Object.fromEntries(notes) } };
  }
  return marked;
}

serve({
  name: "random",
  version: "4.21.2",
  configure: { supportsAutonamingConfiguration: true },
  resources: {
    "random:index/randomPassword:RandomPassword": toResource(password),
    "random:index/randomBytes:RandomBytes": toResource(bytes),
    "random:index/randomId:RandomId": toResource(id),
  },
  functions: {},
});
