/** A server block of nginx's configuration. */
export interface Site {
  /** The file that it is in. */
  readonly file: string;
  readonly names: readonly string[];
  /** Ports that it listens on. */
  readonly ports: readonly number[];
  /** The ports on this machine that it hands requests to. */
  readonly upstreamPorts: readonly number[];
  /** Whether it answers discovery. */
  readonly wellKnown: boolean;
  /** Whether it serves something that is neither Matrix's nor a redirection. */
  readonly other: boolean;
  readonly certificate?: string;
  readonly key?: string;
}

interface Directive {
  readonly words: readonly string[];
  readonly block: readonly Directive[];
}

/** The server blocks in what `nginx -T` prints, in its order. Pure. */
export function readSites(text: string): Site[] {
  const files = text.split(/^# configuration file (.+):$/m).slice(1);
  const parsed = files.flatMap((file, index) =>
    index % 2 === 0 ? [{ file, directives: parse(files[index + 1] ?? "") }] : [],
  );
  const all = parsed.flatMap(({ directives }) => flatten(directives));
  const upstreams = new Map(
    all
      .filter(({ words }) => words[0] === "upstream")
      .map(({ words, block }) => [
        words[1] ?? "",
        block.flatMap(({ words: [name, address] }) => (name === "server" ? localPort(address ?? "") : [])),
      ]),
  );
  return parsed.flatMap(({ file, directives }) =>
    flatten(directives)
      .filter(({ words }) => words.length === 1 && words[0] === "server")
      .map(({ block }) => siteOf(file, block, upstreams)),
  );
}

function siteOf(file: string, block: readonly Directive[], upstreams: ReadonlyMap<string, readonly number[]>): Site {
  const inner = flatten(block);
  const of = (name: string) => inner.filter(({ words }) => words[0] === name).map(({ words }) => words.slice(1));
  const targets = of("proxy_pass").map(([url = ""]) => {
    const authority = url.replace(/^https?:\/\//, "").replace(/\/.*/, "");
    return upstreams.get(authority) ?? localPort(authority);
  });
  const [certificate] = of("ssl_certificate")[0] ?? [];
  const [key] = of("ssl_certificate_key")[0] ?? [];
  return {
    file,
    names: of("server_name").flat(),
    ports: of("listen").map(([address = ""]) => Number(/(\d+)$/.exec(address)?.[1] ?? 80)),
    upstreamPorts: [...new Set(targets.flat())],
    wellKnown: of("location").some((words) => words.join(" ").replaceAll("\\", "").includes(".well-known/matrix")),
    other:
      targets.some((ports) => ports.length === 0) ||
      ["root", "alias", "try_files", "fastcgi_pass", "uwsgi_pass", "index"].some((name) => of(name).length > 0),
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
  };
}

function localPort(address: string): number[] {
  const port = /^(?:localhost|127\.0\.0\.1|\[::1\]):(\d+)$/.exec(address)?.[1];
  return port === undefined ? [] : [Number(port)];
}

function flatten(directives: readonly Directive[]): Directive[] {
  return directives.flatMap((directive) => [directive, ...flatten(directive.block)]);
}

function parse(text: string): Directive[] {
  const tokens =
    text.match(/#[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[{};]|(?:[^\s{};"'#\\]|\\.|\$\{\w+\})[^\s{};]*/g) ?? [];
  const open: Directive[][] = [[]];
  let words: string[] = [];
  for (const token of tokens) {
    const level = open.at(-1) ?? [];
    if (token === "{") {
      const block: Directive[] = [];
      level.push({ words, block });
      open.push(block);
    } else if (token === ";") {
      level.push({ words, block: [] });
    } else if (token === "}") {
      open.pop();
    } else {
      if (!token.startsWith("#")) words.push(token.replace(/^(["'])([^]*)\1$/, "$2"));
      continue;
    }
    words = [];
  }
  return open[0] ?? [];
}
