import { crc32, gzipSync } from "node:zlib";
import { serve, type Failure } from "./serve";
import { isObject, type Properties, type Value } from "./values";

const DEFAULT_BOUNDARY = "MIMEBOUNDARY";

/** Renders cloud-init user-data as one MIME document, byte for byte as the official plugin does when it is not compressed. */
function getConfig(args: Properties): Properties | Failure[] {
  const gzip = args.gzip ?? true;
  const base64Encode = args.base64Encode ?? true;
  if (gzip === true && base64Encode === false) {
    const reason = "Invalid Attribute Configuration: Expected base64_encode to be set to true when gzip is true.";
    return [{ property: "base64Encode", reason }];
  }

  const boundary = text(args.boundary) || DEFAULT_BOUNDARY;
  const parts = (Array.isArray(args.parts) ? args.parts : [])
    .filter(isObject)
    .map((part) => ({ ...part, contentType: text(part.contentType) || "text/plain" }));

  let document = Buffer.from(renderMime(boundary, parts));
  if (gzip === true) document = gzipSync(document);
  const rendered = document.toString(base64Encode === true ? "base64" : "utf8");
  return { ...args, gzip, base64Encode, boundary, parts, rendered, id: String(crc32(rendered)) };
}

function renderMime(boundary: string, parts: Properties[]): string {
  // The mixed line ends are the official plugin's; cloud-init takes both.
  const head = `Content-Type: multipart/mixed; boundary="${boundary}"\nMIME-Version: 1.0\r\n\r\n`;
  const bodies = parts.map((part) => `${partHeaders(part).join("\r\n")}\r\n\r\n${text(part.content)}\r\n`);
  return `${head}${bodies.map((body) => `--${boundary}\r\n${body}`).join("")}--${boundary}--\r\n`;
}

function partHeaders(part: Properties): string[] {
  return [
    ...(text(part.filename) ? [`Content-Disposition: attachment; filename="${text(part.filename)}"`] : []),
    "Content-Transfer-Encoding: 7bit",
    `Content-Type: ${text(part.contentType)}`,
    "Mime-Version: 1.0",
    ...(text(part.mergeType) ? [`X-Merge-Type: ${text(part.mergeType)}`] : []),
  ];
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}

serve({
  name: "cloudinit",
  version: "1.6.1",
  configure: { supportsAutonamingConfiguration: true },
  resources: {},
  functions: { "cloudinit:index/getConfig:getConfig": (args) => Promise.resolve(getConfig(args)) },
});
