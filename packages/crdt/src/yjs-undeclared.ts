/** Shared types of a Yjs document that nobody has declared. */
import * as Y from "yjs";

type Shared = Y.Doc["share"] extends Map<string, infer Type> ? Type : never;

/**
 * Every shared type that holds something, as plain data. Yjs knows what one is only once a program asks for it by its
 * kind; until then what is in it tells: keys make a map, characters a text, elements XML, and anything else an array.
 */
export function readShared(doc: Y.Doc): Record<string, unknown> {
  const read = [...doc.share].map(([name, type]): [string, unknown] => [name, plain(type)]);
  return Object.fromEntries(read.filter(([, value]) => value !== undefined));
}

function plain(type: Shared): unknown {
  if (Object.getPrototypeOf(type) !== Y.AbstractType.prototype) return type.toJSON();
  if (type._map.size > 0) return entriesOf(type);
  const contents = Y.getTypeChildren(type).flatMap(({ deleted, content }) => (deleted ? [] : [content]));
  if (contents.length === 0) return undefined;
  if (contents.some((content) => content instanceof Y.ContentString || content instanceof Y.ContentFormat)) {
    return contents.map((content) => (content instanceof Y.ContentString ? content.str : "")).join("");
  }
  const items: unknown[] = contents.flatMap((content): unknown[] => content.getContent());
  return items.every(isXml) ? items.join("") : items.map(plainItem);
}

function entriesOf(type: Shared): Record<string, unknown> {
  const present = [...type._map].filter(([, item]) => !item.deleted);
  return Object.fromEntries(
    present.map(([key, { content }]): [string, unknown] => [key, plainItem(content.getContent().at(-1))]),
  );
}

function isXml(item: unknown): boolean {
  return item instanceof Y.XmlElement || item instanceof Y.XmlText || item instanceof Y.XmlHook;
}

/** A document within a document is one of its own. */
function plainItem(item: unknown): unknown {
  if (item instanceof Y.Doc) return null;
  return item instanceof Y.AbstractType ? item.toJSON() : item;
}
