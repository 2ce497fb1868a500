/** Documents as the libraries they come from read and write them. */
import type * as Automerge from "@automerge/automerge";
import type { AutomergeMutator, AutomergeView } from "@coppice/crdt/automerge";
import type { YjsMutator, YjsView, checkYjsUpdate } from "@coppice/crdt/yjs";
import type * as Yjs from "yjs";
import { ServerError } from "../error.ts";
import type { TypeRegistry } from "./operations.ts";

/** How one type of documents is read and written. */
export interface DocumentFormat {
  /**
   * All of a document; or, for one that has what `since` says (see `docs/http.md`), what it lacks. Throws
   * `INVALID_REQUEST` for a `since` that says nothing.
   */
  encode(view: unknown, since: string | undefined): Uint8Array;
  /** Throws `INVALID_OPERATION` for what is no update, or builds on what is not here. */
  apply(mutator: unknown, update: Uint8Array): void;
}

/** The formats of those types whose libraries are there. */
export async function documentFormats(types: TypeRegistry): Promise<ReadonlyMap<string, DocumentFormat>> {
  const formats = new Map<string, DocumentFormat>();
  if (types.find("yjs") !== undefined) {
    const [yjs, { checkYjsUpdate }] = await Promise.all([import("yjs"), import("@coppice/crdt/yjs")]);
    formats.set("yjs", yjsFormat(yjs, checkYjsUpdate));
  }
  if (types.find("automerge") !== undefined) {
    formats.set("automerge", automergeFormat(await import("@automerge/automerge")));
  }
  return formats;
}

function yjsFormat(yjs: typeof Yjs, check: typeof checkYjsUpdate): DocumentFormat {
  return {
    encode: (view, since) => {
      const { doc } = view as YjsView;
      if (since === undefined) return yjs.encodeStateAsUpdate(doc);
      const vector = new Uint8Array(Buffer.from(since, "base64url"));
      return reading("`since` must be a state vector of Yjs, as Base64url", () => {
        yjs.decodeStateVector(vector);
        return yjs.encodeStateAsUpdate(doc, vector);
      });
    },
    apply: (mutator, update) => {
      const { doc } = mutator as YjsMutator;
      // What builds on changes that are not here, Yjs would keep aside, where no event carries it.
      applying(() => check(doc, update));
      yjs.applyUpdate(doc, update);
    },
  };
}

function automergeFormat(automerge: typeof Automerge): DocumentFormat {
  type Content = Record<string, unknown>;
  return {
    encode: (view, since) => {
      const { doc } = view as AutomergeView<Content>;
      if (since === undefined) return automerge.save(doc);
      const heads = since === "" ? [] : since.split(",");
      return reading("`since` must be heads of Automerge, with commas", () =>
        Buffer.concat(automerge.getChangesSince(doc, heads)),
      );
    },
    apply: (mutator, update) => {
      const document = mutator as AutomergeMutator<Content>;
      const copy = applying(() => automerge.loadIncremental(automerge.clone(document.doc), update));
      if (automerge.getMissingDeps(copy, []).length > 0) {
        throw new ServerError("INVALID_OPERATION", "the body builds on changes that are not here: send those, too");
      }
      document.applyChanges(automerge.getChangesSince(copy, automerge.getHeads(document.doc)));
    },
  };
}

function reading<R>(wanted: string, read: () => R): R {
  try {
    return read();
  } catch (cause) {
    throw new ServerError("INVALID_REQUEST", wanted, { cause });
  }
}

function applying<R>(apply: () => R): R {
  try {
    return apply();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ServerError("INVALID_OPERATION", `the body is no update that this document can take: ${reason}`, {
      cause,
    });
  }
}
