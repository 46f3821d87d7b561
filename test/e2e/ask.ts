import { lookup } from "node:dns";
import http, { type IncomingHttpHeaders } from "node:http";
import https from "node:https";
import { text } from "node:stream/consumers";
import { connect } from "node:net";

/** What a web server answered. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Asks for a URL at `address`, whatever DNS says; a certificate has to be one that `ca` vouches for. Follows no redirect. */
export async function ask(
  url: string,
  address: string,
  ca: string,
  headers: Record<string, string> = {},
  timeoutMs = 10_000,
): Promise<Answer> {
  const { get } = url.startsWith("https:") ? https : http;
  return await new Promise((resolve, reject) => {
    const request = get(
      url,
      {
        ca,
        headers,
        agent: false,
        timeout: timeoutMs,
        lookup: (_name, options, callback) => {
          lookup(address, options, callback);
        },
      },
      (response) => {
        text(response).then((body) => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
        }, reject);
      },
    );
    request.on("timeout", () => request.destroy(new Error(`${url} did not answer within ${timeoutMs} ms`)));
    request.on("error", reject);
  });
}

/** Whether anybody on this machine can connect to the port. */
export async function isOpen(address: string, port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ host: address, port, timeout: 3000 });
    const end = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.on("connect", () => {
      end(true);
    });
    socket.on("timeout", () => {
      end(false);
    });
    socket.on("error", () => {
      end(false);
    });
  });
}
