import { expect, test } from "vitest";
import { type SettingSources, resolveSettings, settingsOf } from "./settings.ts";

function domains(sources: Partial<SettingSources>): Record<string, unknown> {
  const resolved = resolveSettings({ flags: {}, environment: {}, ...sources });
  return Object.fromEntries(settingsOf(resolved).domains);
}

test("each setting of a domain comes from the first source that has it", () => {
  const sources = {
    file: { domains: { views: { type: "gcounter", inMemory: true, autoSave: 9 }, words: { durability: "sync" } } },
    environment: { COPPICE_DOMAINS: "views.autoSave=5, words.interest=false" },
    flags: { domains: ["views.autoSave=off", 'words.storage={"scheme":"memory"}'] },
  };
  const resolved = resolveSettings(sources).filter(({ domain }) => domain !== undefined);
  expect(resolved.map(({ name, value, source }) => [name, value, source])).toEqual([
    ["domains.views.autoSave", false, "flag"],
    ["domains.views.inMemory", true, "file"],
    ["domains.views.type", "gcounter", "file"],
    ["domains.words.durability", "sync", "file"],
    ["domains.words.interest", false, "environment"],
    ["domains.words.storage", '{"scheme":"memory"}', "flag"],
  ]);
  expect(domains(sources)).toEqual({
    views: { type: "gcounter", inMemory: true, autoSave: false },
    words: { durability: "sync", interest: false, storage: '{"scheme":"memory"}' },
  });
});

test("a variable can hold all domains as JSON", () => {
  const environment = {
    COPPICE_DOMAINS: '{"a,b": {"storage": {"scheme": "level", "location": "x"}, "interest": true}}',
  };
  expect(domains({ environment })).toEqual({ "a,b": { storage: { scheme: "level", location: "x" }, interest: true } });
});

test.each<[Partial<SettingSources>, string]>([
  [{ flags: { domains: ["views"] } }, "--domains must be DOMAIN.SETTING=VALUE"],
  [{ flags: { domains: ["views.tpye=x"] } }, 'Did you mean "type"?'],
  [{ flags: { domains: ["views.inMemory=yes"] } }, "--domains views.inMemory must be true or false"],
  [{ flags: { domains: ["views.autoSave=5"] } }, "set that to true, or leave it out"],
  [{ environment: { COPPICE_DOMAINS: "{" } }, "COPPICE_DOMAINS is not JSON"],
  [{ environment: { COPPICE_DOMAINS: "a.snapshotInterval=soon" } }, "a.snapshotInterval must be a number of seconds"],
  [{ file: { domains: [] } }, 'domains must be an object such as {"views"'],
  [{ file: { domains: { views: "gcounter" } } }, "domains.views must be an object"],
  [{ file: { domains: { views: { storage: 5 } } } }, "domains.views.storage must be a storage such as"],
  [{ file: { domains: { views: { durability: "yes" } } } }, "domains.views.durability must be one of snapshot"],
])("refuses %j", (sources, message) => {
  expect(() => domains(sources)).toThrow(message);
});
