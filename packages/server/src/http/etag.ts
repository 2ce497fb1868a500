/** The tag of a state, as it stands in `ETag`. */
export function entityTag(digest: string): string {
  return `"${digest}"`;
}

/**
 * Whether `If-None-Match` names a tag (RFC 9110, 13.1.2): alone, in a list, or weakened, as proxies that compress do; `*`
 * is any.
 */
export function isKnown(ifNoneMatch: string | undefined, tag: string): boolean {
  const named = ifNoneMatch?.split(",").map((item) => item.trim().replace(/^W\//, ""));
  return named?.some((item) => item === tag || item === "*") === true;
}
