import { readFileSync } from "node:fs";
import { join } from "node:path";

import Mustache from "mustache";

/** Looks names up as Mustache does, but a name that the view does not have is a mistake and not an empty text. */
class StrictContext extends Mustache.Context {
  override lookup(name: string): unknown {
    const value: unknown = super.lookup(name);
    if (value === undefined) throw new Error(`the template asks for {{${name}}}, and its view has no such value`);
    return value;
  }
}

const writer = new Mustache.Writer();

/**
 * The text of a file in templates/, which are named and laid out as they land on the host. Values are put in as they are:
 * what a format wants quoted, the view quotes. Pure but for reading the template. Throws on a name that `view` lacks.
 */
export function renderTemplate(file: string, view: object): string {
  const template = readFileSync(join(__dirname, "..", "templates", `${file}.mustache`), "utf8");
  return writer.render(template, new StrictContext(view), {}, { escape: (value: unknown) => String(value) });
}
