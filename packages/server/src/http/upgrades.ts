/**
 * What becomes of a request with `Upgrade`. To a WebSocket it is handed on; any other is ignored (RFC 9110, 7.8), as the
 * `Upgrade: h2c` that Java's client sends with each request: it is answered as if it had none.
 *
 * The parser of Node stops at the head of such a request. A server that does not listen for upgrades gets it as any other,
 * but what follows it in the same packet is lost. So its head is written again without the upgrade, put back before what
 * follows, and the connection handed to the server as a new one.
 */
import { EventEmitter } from "node:events";
import type { Server as HttpServer, IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type Connections, connectionEvent } from "./connections.ts";

/** More are not written again: Node leaves out those beyond a thousand or two, and one may tell where the body ends. */
const HEADERS_MAX = 500;
const TARGET = /^[\u0021-\u00ff]+$/;
const VALUE = /^[\t\u0020-\u007e\u0080-\u00ff]*$/;
/** The headers that go with the upgrade, which are also named in `Connection`. */
const UPGRADE_HEADERS: ReadonlySet<string> = new Set(["upgrade", "http2-settings"]);

/** The upgrades to WebSockets, as `upgrade` events. */
export function webSocketUpgrades(server: HttpServer, connections: Connections): EventEmitter {
  const webSockets = new EventEmitter();
  server.on("upgrade", (request: IncomingMessage, socket: Socket, rest: Buffer) => {
    // Nothing would tell the answer before it, which is still being written, when it may go on.
    if (connections.isBusy(socket)) {
      socket.destroy();
    } else if (request.headers.upgrade?.toLowerCase() === "websocket") {
      connections.release(socket);
      // Nobody listens any more once the server closes.
      if (!webSockets.emit("upgrade", request, socket, rest)) socket.destroy();
    } else {
      readAgain(server, request, socket, rest);
    }
  });
  return webSockets;
}

function readAgain(server: HttpServer, request: IncomingMessage, socket: Socket, rest: Buffer): void {
  const head = headWithoutUpgrade(request);
  if (head === undefined) {
    socket.destroy();
    return;
  }
  socket.unshift(Buffer.concat([Buffer.from(head, "latin1"), rest]));
  server.emit(connectionEvent(server), socket);
}

/** Undefined for what would not be read as it was before. */
function headWithoutUpgrade({ method, url = "", httpVersion, rawHeaders }: IncomingMessage): string | undefined {
  if (rawHeaders.length > 2 * HEADERS_MAX || !TARGET.test(url)) return undefined;
  let head = `${method} ${url} HTTP/${httpVersion}\r\n`;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = "", given = ""] = rawHeaders.slice(at, at + 2);
    if (!VALUE.test(given)) return undefined;
    if (UPGRADE_HEADERS.has(name.toLowerCase())) continue;
    const value = name.toLowerCase() === "connection" ? withoutUpgrade(given) : given;
    head += `${name}: ${value}\r\n`;
  }
  return `${head}\r\n`;
}

function withoutUpgrade(connection: string): string {
  const options = connection.split(",").map((option) => option.trim());
  return options.filter((option) => !UPGRADE_HEADERS.has(option.toLowerCase())).join(", ");
}
