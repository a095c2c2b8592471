// The calls of Supabase's Management API that `supabase functions deploy --use-api` makes; they are recorded, nothing
// is deployed.
import { z } from "zod";

const metadata = z.object({
  name: z.string(),
  entrypoint_path: z.string(),
  import_map_path: z.string().optional(),
  static_patterns: z.array(z.string()),
  // Left out if config.toml has no value; the platform then verifies.
  verify_jwt: z.boolean().default(true),
});
const released = z.array(z.object({ slug: z.string(), verify_jwt: z.boolean() }));

export interface Upload {
  slug: string;
  metadata: z.infer<typeof metadata>;
  /** Text by path, relative to the project's root. */
  files: Map<string, string>;
}

export interface ManagementApi extends AsyncDisposable {
  url: string;
  uploads: Upload[];
  /** The final call, which publishes the uploads. */
  released: z.infer<typeof released>;
  /** Requests without an implementation. */
  unknown: string[];
}

export function openManagementApi(project: string, token: string): ManagementApi {
  const uploads: Upload[] = [];
  const unknown: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, reply);
  const api: ManagementApi = {
    url: `http://127.0.0.1:${server.addr.port}`,
    uploads,
    released: [],
    unknown,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };

  async function reply(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (request.headers.get("authorization") !== `Bearer ${token}`) return new Response(null, { status: 401 });
    const call = `${request.method} ${pathname}`;
    if (call === `POST /v1/projects/${project}/functions/deploy`) {
      const upload = await readUpload(searchParams.get("slug") ?? "", await request.formData());
      uploads.push(upload);
      return Response.json(describe(upload), { status: 201 });
    }
    if (call === `PUT /v1/projects/${project}/functions`) {
      api.released = released.parse(await request.json());
      return Response.json({ functions: uploads.map(describe) });
    }
    // Requested if config.toml has no verify_jwt: a function keeps its setting.
    if (call === `GET /v1/projects/${project}/functions`) return Response.json([]);
    if (call === `GET /v1/projects/${project}`) return Response.json({ message: "Not Found" }, { status: 404 });
    unknown.push(call);
    return Response.json({ message: "Not Found" }, { status: 404 });
  }

  return api;
}

async function readUpload(slug: string, form: FormData): Promise<Upload> {
  const files = new Map<string, string>();
  for (const part of form.getAll("file")) {
    if (part instanceof File) files.set(part.name, await part.text());
  }
  return { slug, files, metadata: metadata.parse(JSON.parse(String(form.get("metadata")))) };
}

function describe({ slug, metadata }: Upload) {
  const times = { created_at: 1, updated_at: 1 };
  const { name, verify_jwt } = metadata;
  return { id: crypto.randomUUID(), slug, name, version: 1, status: "ACTIVE", verify_jwt, ezbr_sha256: "0", ...times };
}
