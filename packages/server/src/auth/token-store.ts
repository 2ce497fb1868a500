/**
 * The tokens that a server accepts. Those of a data directory are in these files:
 *
 * | file          | mode | holds                                                                             |
 * |---------------|------|-----------------------------------------------------------------------------------|
 * | `tokens.json` | 0600 | every token without its secret: id, label, scope, domains, times, SHA-256 of it   |
 * | `token`       | 0600 | the text of the token that allows everything, made at the first start             |
 * | `token.read`  | 0600 | the text of the token that reads everything, likewise                             |
 */
import { join } from "node:path";
import { ServerError } from "../error.ts";
import { Grant, type Scope, type TokenInfo, covers } from "./grant.ts";
import { writePrivate } from "@coppice/storage/private-file";
import { type StoredToken, readOwnTokenText, readTokens, writeTokens } from "./token-files.ts";
import { createTokenText, hashOf, isSameHash, tokenId } from "./token-text.ts";

/** What a new token is to allow. */
export interface TokenRequest {
  readonly label?: string;
  readonly scope: Scope;
  /** Default: all. */
  readonly domains?: readonly string[];
  /** Milliseconds since 1970. Default: never. */
  readonly expiresAt?: number;
}

/** A token that was just made: the only time its text is known. */
export interface NewToken {
  readonly info: TokenInfo;
  readonly text: string;
}

interface Entry {
  readonly grant: Grant;
  readonly hash: Buffer;
  /** The file that holds its text, if one does. */
  readonly file: string | undefined;
}

export const TOKENS_MAX = 1000;
const LABEL_LENGTH_MAX = 100;
const DOMAINS_MAX = 100;
const DOMAIN_LENGTH_MAX = 256;
/** The tokens that every data directory has, in files of these names. */
export const TOKEN_FILES: ReadonlyMap<string, Scope> = new Map([
  ["token", "admin"],
  ["token.read", "read"],
]);

export class TokenStore {
  /** Undefined: in memory only. */
  readonly #directory: string | undefined;
  readonly #entries = new Map<string, Entry>();
  #writing: Promise<void> = Promise.resolve();

  private constructor(directory: string | undefined) {
    this.#directory = directory;
  }

  /** Tokens that an embedding program has chosen itself, of any text. What is made beside them is forgotten at the end. */
  static of(tokens: ReadonlyMap<string, Scope>): TokenStore {
    const store = new TokenStore(undefined);
    let number = 0;
    for (const [text, scope] of tokens) {
      number++;
      store.#add(hashOf(text), { id: tokenId(text) ?? `given-${number}`, label: "given by the program", scope });
    }
    return store;
  }

  /**
   * The tokens of a data directory, whose files it makes when there are none. Who can write into the directory owns the
   * node: the text in a token file is accepted. Fails with `INVALID_OPTIONS` for a file that is no such file.
   */
  static async open(directory: string): Promise<TokenStore> {
    const store = new TokenStore(directory);
    for (const { hash, file, ...info } of await readTokens(directory)) store.#add(hash, info, file);
    for (const [file, scope] of TOKEN_FILES) await store.#adopt(file, scope);
    return store;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** What the bearer of a text may do; undefined when it is no token, or not any more. */
  identify(text: string): Grant | undefined {
    const hash = hashOf(text);
    const named = this.#entries.get(tokenId(text) ?? "");
    // Texts that an embedding program chose name no entry: all are compared, so that the time tells nothing.
    const candidates = named === undefined ? [...this.#entries.values()] : [named];
    let found: Grant | undefined;
    for (const { hash: known, grant } of candidates) if (isSameHash(known, hash)) found = grant;
    return found?.isValid === true ? found : undefined;
  }

  /** Oldest first; those that have expired are left out. */
  list(): TokenInfo[] {
    const grants = [...this.#entries.values()].map(({ grant }) => grant).filter(({ isValid }) => isValid);
    return grants.map(({ info }) => info).toSorted((left, right) => left.createdAt - right.createdAt);
  }

  /** Makes a token; it is stored when this resolves. Fails with `INVALID_REQUEST`, also for too many. */
  async create(request: TokenRequest): Promise<NewToken> {
    const created = this.#make(checkRequest(request), undefined);
    await this.#save();
    return created;
  }

  /**
   * Ends a token at once, and with it the streams that were opened by it; one whose text is in a file is replaced there.
   * Resolves, once that is stored, to whether there was such a token.
   */
  async revoke(id: string): Promise<boolean> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    const { grant, file } = entry;
    this.#entries.delete(id);
    grant.revoke();
    if (file !== undefined) await this.#makeFile(file, grant.info.scope);
    await this.#save();
    return true;
  }

  async #adopt(file: string, scope: Scope): Promise<void> {
    const text = await readOwnTokenText(join(this.#directory ?? "", file));
    const id = text === undefined ? undefined : tokenId(text);
    for (const [other, entry] of this.#entries) {
      if (entry.file === file && (other !== id || !isSameHash(entry.hash, hashOf(text ?? ""))))
        this.#entries.delete(other);
    }
    if (text === undefined || id === undefined) await this.#makeFile(file, scope);
    else if (!this.#entries.has(id)) this.#add(hashOf(text), { id, label: labelOf(file), scope }, file);
    else return;
    await this.#save();
  }

  async #makeFile(file: string, scope: Scope): Promise<void> {
    const { text } = this.#make({ label: labelOf(file), scope }, file);
    await writePrivate(join(this.#directory ?? "", file), `${text}\n`);
  }

  #make(request: TokenRequest, file: string | undefined): NewToken {
    this.#dropExpired();
    if (this.#entries.size >= TOKENS_MAX) {
      throw new ServerError("INVALID_REQUEST", `there are ${TOKENS_MAX} tokens already; revoke some`);
    }
    const { id, text } = createTokenText();
    const { label = "", scope, domains, expiresAt } = request;
    return { info: this.#add(hashOf(text), { id, label, scope, domains, expiresAt }, file), text };
  }

  #add(hash: Buffer, info: Partial<TokenInfo> & Pick<TokenInfo, "id" | "label" | "scope">, file?: string): TokenInfo {
    const { id, label, scope, domains, createdAt = Date.now(), expiresAt } = info;
    const grant = new Grant({ id, label, scope, domains, createdAt, expiresAt });
    this.#entries.set(id, { grant, hash, file });
    return grant.info;
  }

  #dropExpired(): void {
    for (const [id, { grant }] of this.#entries) if (!grant.isValid) this.#entries.delete(id);
  }

  /** One write at a time, each with everything there is by then. */
  async #save(): Promise<void> {
    const directory = this.#directory;
    if (directory === undefined) return;
    const write = async (): Promise<void> => {
      const stored = [...this.#entries.values()].map(({ grant, hash, file }): StoredToken => ({
        ...grant.info,
        hash,
        file,
      }));
      await writeTokens(directory, stored);
    };
    const writing = this.#writing.then(write);
    this.#writing = writing.catch(() => undefined);
    await writing;
  }
}

function labelOf(file: string): string {
  return `the file ${file}`;
}

function checkRequest(request: TokenRequest): TokenRequest {
  const { label = "", scope, domains, expiresAt } = request;
  if (label.length > LABEL_LENGTH_MAX) throw invalid(`a label has at most ${LABEL_LENGTH_MAX} characters`);
  if (!covers("admin", scope)) throw invalid(`a scope is "read", "write" or "admin", not ${JSON.stringify(scope)}`);
  if (domains !== undefined) {
    if (scope === "admin") throw invalid('a token of scope "admin" is good for every domain');
    if (
      domains.length === 0 ||
      domains.length > DOMAINS_MAX ||
      domains.some(({ length }) => length > DOMAIN_LENGTH_MAX)
    ) {
      throw invalid(`a token is for all domains, or for 1 to ${DOMAINS_MAX}`);
    }
  }
  if (expiresAt !== undefined && !(expiresAt > Date.now() && expiresAt <= 8.64e15))
    throw invalid("the time when it expires must be after now, and a date");
  return request;
}

function invalid(detail: string): ServerError {
  return new ServerError("INVALID_REQUEST", detail);
}
