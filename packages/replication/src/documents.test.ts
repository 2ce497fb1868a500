import { automergeDoc } from "@coppice/crdt/automerge";
import { yjsDoc } from "@coppice/crdt/yjs";
import { memoryStorage } from "@coppice/storage";
import { SimulatedDisk } from "@coppice/storage/testing";
import { describe, expect, it } from "vitest";
import { Grove } from "./nodes.test-support.ts";

const page = yjsDoc({ body: "text" });

describe("a Yjs document", () => {
  it("replicates edits in mutate and edits made on the document itself, deletions included", async () => {
    await using grove = new Grove();
    const types = { types: [page] };
    const a = await grove.start("a", [], types);
    const b = await grove.start("b", ["a"], types);
    const onA = await a.open("page", page);
    const onB = await b.open("page", page);
    onA.mutate(({ doc }) => doc.getText("body").insert(0, "hello world"));
    await expect.poll(() => onB.value().body).toBe("hello world");
    // As an editor bound to the live document does.
    onB
      .read(({ doc }) => doc)
      .getText("body")
      .delete(0, 6);
    await expect.poll(() => onA.value().body).toBe("world");
    await grove.converged();
    expect(onA.contentHash()).toBe(onB.contentHash());
  });

  it("keeps the order of edits on the document itself and in mutate, also within one turn", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const a = await grove.start("a", [], { types: [page], storage });
    const b = await grove.start("b", ["a"], { types: [page] });
    const [onA, onB] = [await a.open("page", page), await b.open("page", page)];
    const body = onA.read(({ doc }) => doc).getText("body");
    body.insert(0, "1");
    onA.mutate(() => body.insert(1, "2"));
    body.insert(2, "3");
    expect(() =>
      onA.mutate(() => {
        body.insert(3, "4");
        throw new Error("no");
      }),
    ).toThrow("no");
    body.insert(4, "5");
    await onA.mutate(() => body.insert(5, "6"), { ack: { replicas: 1 } });
    expect(onB.value().body).toBe("123456");
    body.insert(6, "7");
    await onB.atLeast(onA.sessionToken());
    expect(onB.value().body).toBe("1234567");
    expect(grove.notices).toEqual([]);
    await grove.stop("a");
    const again = await grove.start("a", [], { types: [page], storage });
    expect((await again.open("page", page)).value().body).toBe("1234567");
  });

  it("may still be edited when its node has closed, and then nothing more is made of it", async () => {
    await using grove = new Grove();
    const storage = new SimulatedDisk().backend();
    const node = await grove.start("a", [], { types: [page], storage });
    const doc = (await node.open("page", page)).read((view) => view.doc);
    doc.getText("body").insert(0, "kept");
    await grove.stop("a");
    doc.getText("body").insert(4, ", lost");
    const again = await grove.start("a", [], { types: [page], storage });
    expect((await again.open("page", page)).value().body).toBe("kept");
    expect(grove.notices).toEqual([]);
  });

  it("is there again after a restart, under a fresh client id", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const node = await grove.start("a", [], { types: [page], storage });
    const first = await node.open("page", page);
    first.mutate(({ doc }) => doc.getText("body").insert(0, "kept"));
    const clientId = first.read(({ doc }) => doc.clientID);
    await grove.stop("a");
    const again = await (await grove.start("a", [], { types: [page], storage })).open("page", page);
    expect(again.value().body).toBe("kept");
    expect(again.read(({ doc }) => doc.clientID)).not.toBe(clientId);
  });
});

describe("an Automerge document", () => {
  it("merges concurrent edits and survives a restart", async () => {
    interface Tasks {
      readonly [title: string]: boolean;
    }
    const tasks = automergeDoc<Tasks>();
    await using grove = new Grove();
    const storage = memoryStorage();
    const a = await grove.start("a", [], { types: [tasks], storage });
    const b = await grove.start("b", ["a"], { types: [tasks] });
    const onA = await a.open("tasks", tasks);
    const onB = await b.open("tasks", tasks);
    onA.mutate((m) => m.change((doc) => Object.assign(doc, { dig: false })));
    onB.mutate((m) => m.change((doc) => Object.assign(doc, { plant: true })));
    await expect.poll(() => onA.value()).toEqual({ dig: false, plant: true });
    await grove.converged();
    expect(onA.contentHash()).toBe(onB.contentHash());
    await grove.stop("a");
    const again = await (await grove.start("a", ["b"], { types: [tasks], storage })).open("tasks", tasks);
    expect(again.value()).toEqual({ dig: false, plant: true });
  });
});
