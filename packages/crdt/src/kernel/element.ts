import { Reader, Writer, malformed } from "../codec.ts";
import { type Value, readValue, writeValue } from "../value.ts";

const ESCAPE = "\0";

/**
 * The key under which a set keeps an element: a string itself, any other value as an escape and its encoded bytes, a
 * character each. Equal values have equal keys, except that objects with their keys in another order differ.
 */
export function elementKey(element: unknown): string {
  if (typeof element === "string" && !element.startsWith(ESCAPE)) return element;
  const writer = new Writer();
  writeValue(writer, element);
  return ESCAPE + Array.from(writer.peek(), (byte) => String.fromCharCode(byte)).join("");
}

/** The element of a key. Throws `MALFORMED` for a key that no element has. */
export function elementOf(key: string): Value {
  if (!key.startsWith(ESCAPE)) return key;
  const codes = Array.from({ length: key.length - 1 }, (_, index) => key.charCodeAt(index + 1));
  if (codes.some((code) => code > 255)) throw malformed("not the key of an element");
  const reader = new Reader(Uint8Array.from(codes));
  const value = readValue(reader);
  reader.done();
  return value;
}

/** The element of a key; the key itself where a peer wrote one that no element has: reading never throws. */
export function showElement(key: string): Value {
  try {
    return elementOf(key);
  } catch {
    return key;
  }
}
