/**
 * The text of a token: `cop_`, 12 hexadecimal digits that name it, `_`, and 43 characters of Base64url, which are the
 * secret (32 random bytes). Only its SHA-256 is kept: with so much randomness there is nothing to guess, so nothing is
 * won by a slow hash.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

const ID_BYTES = 6;
const SECRET_BYTES = 32;
const FORMAT = /^cop_([0-9a-f]{12})_[A-Za-z0-9_-]{43}$/;

/** What identifies any token file or header that could be one. */
export function tokenId(text: string): string | undefined {
  return FORMAT.exec(text)?.[1];
}

export function createTokenText(): { readonly id: string; readonly text: string } {
  const id = randomBytes(ID_BYTES).toString("hex");
  return { id, text: `cop_${id}_${randomBytes(SECRET_BYTES).toString("base64url")}` };
}

export function hashOf(secret: string | Uint8Array): Buffer {
  return createHash("sha256").update(secret).digest();
}

/** In a time that does not depend on where they differ. */
export function isSameHash(left: Buffer, right: Buffer): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}
