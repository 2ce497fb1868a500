import type { Actor, VersionVector } from "@coppice/crdt";

/**
 * The causal frontier of the union of two replicas: the actors whose latest event no event of either side follows.
 * An entry of one side stands unless the other side knows that event and has one that follows it.
 */
export function joinFrontiers(
  ours: ReadonlySet<Actor>,
  ourVector: VersionVector,
  theirs: readonly Actor[],
  theirVector: VersionVector,
): Set<Actor> {
  const theirFrontier = new Set(theirs);
  const union = new Set<Actor>();
  for (const actor of ours) {
    const lead = ourVector.get(actor) - theirVector.get(actor);
    if (lead > 0 || (lead === 0 && theirFrontier.has(actor))) union.add(actor);
  }
  for (const actor of theirFrontier) if (theirVector.get(actor) > ourVector.get(actor)) union.add(actor);
  return union;
}
