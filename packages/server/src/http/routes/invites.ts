import type { FastifyInstance } from "fastify";
import type { AdmittedPeer, InviteInfo } from "../../admission/admission-file.ts";
import { INVITE_SECONDS_MAX, type InviteRequest, type Invites } from "../../admission/invites.ts";
import { ServerError } from "../../error.ts";
import type { AdmittedBody, InviteBody, InvitesBody, NewInviteBody } from "../api.ts";

const NEEDS = { scope: "admin", over: "node" } as const;

const inviteProperties = {
  id: { type: "string", description: "Names the invite; not secret" },
  label: { type: "string" },
  createdAt: { type: "string" },
  expiresAt: { type: "string" },
} as const;

const admittedProperties = {
  peer: { type: "string" },
  label: { type: "string", description: "Of the invite it came with" },
  admittedAt: { type: "string" },
  by: { type: ["string", "null"], description: "The member that told of it; null: the invite was made here" },
} as const;

function object(properties: object): object {
  return { type: "object", required: Object.keys(properties), additionalProperties: false, properties };
}

const invitesSchema = object({
  invites: { type: "array", items: object(inviteProperties) },
  admitted: { type: "array", items: object(admittedProperties) },
});

const newInviteSchema = object({
  invite: { type: "string", description: "For `coppice start --join`; secret, and told only now" },
  ...inviteProperties,
});

const requestSchema = {
  type: "object",
  additionalProperties: false,
  properties: {
    label: { type: "string", maxLength: 100, description: "For people" },
    expiresInSeconds: {
      type: "integer",
      minimum: 1,
      maximum: INVITE_SECONDS_MAX,
      description: "By default one day, at most 30",
    },
  },
} as const;

/** Letting peers in. */
export function inviteRoutes(app: FastifyInstance, invites: Invites): void {
  app.get(
    "/v1/invites",
    {
      config: { needs: NEEDS },
      schema: {
        summary: "The open invites, and the peers that came with one",
        tags: ["peers"],
        response: { 200: invitesSchema },
      },
    },
    (): InvitesBody => ({ invites: invites.open().map(inviteBody), admitted: invites.admitted().map(admittedBody) }),
  );
  app.post<{ Body: InviteRequest }>(
    "/v1/invites",
    {
      config: { needs: NEEDS },
      schema: {
        summary: "Makes an invite, with which one peer can join",
        tags: ["peers"],
        body: requestSchema,
        response: { 200: newInviteSchema },
      },
    },
    async ({ body }): Promise<NewInviteBody> => {
      const { info, text } = await invites.create(body);
      return { invite: text, ...inviteBody(info) };
    },
  );
  removal(app, "/v1/invites/:invite", "Revokes an invite", "The invite's id", (id) => invites.revoke(id));
  removal(app, "/v1/admitted/:peer", "Admits a peer no longer", "The peer's id", (peer) => invites.forget(peer));
}

function removal(
  app: FastifyInstance,
  path: string,
  summary: string,
  description: string,
  remove: (name: string) => Promise<boolean>,
): void {
  const name = path.slice(path.indexOf(":") + 1);
  app.delete<{ Params: { readonly [name: string]: string } }>(
    path,
    {
      config: { needs: NEEDS },
      schema: {
        summary,
        tags: ["peers"],
        params: { type: "object", required: [name], properties: { [name]: { type: "string", description } } },
        response: { 204: { type: "null" } },
      },
    },
    async ({ params }, reply) => {
      const given = params[name] ?? "";
      if (!(await remove(given))) throw new ServerError("NOT_FOUND", `no ${name} has the id ${given}`);
      return reply.code(204).send();
    },
  );
}

function inviteBody({ id, label, createdAt, expiresAt }: InviteInfo): InviteBody {
  return { id, label, createdAt: new Date(createdAt).toISOString(), expiresAt: new Date(expiresAt).toISOString() };
}

function admittedBody({ peer, label, admittedAt, by }: AdmittedPeer): AdmittedBody {
  return { peer, label, admittedAt: new Date(admittedAt).toISOString(), by: by ?? null };
}
