import { expect, test } from "vitest";
import { type ServerEvent, readEvents } from "./event-stream.ts";

async function* bytes(text: string, size: number): AsyncGenerator<Uint8Array> {
  const all = new TextEncoder().encode(text);
  for (let at = 0; at < all.length; at += size) yield all.subarray(at, at + size);
}

const TEXT =
  'retry: 1\n\n: note\n\nevent: value\nid: 1f\ndata: {"é": 1}\n\ndata:a\ndata: b\n\nevent: gone\n\ndata: cut';

test.each([1, 2, 3, 7, 1000])("reads events from chunks of %i bytes", async (size) => {
  const events: ServerEvent[] = [];
  for await (const event of readEvents(bytes(TEXT, size))) events.push(event);
  expect(events).toEqual([
    { event: "value", id: "1f", data: '{"é": 1}' },
    { event: "message", id: "1f", data: "a\nb" },
  ]);
});
