import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import * as grpc from "@grpc/grpc-js";
import { EngineService } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { LogSeverity, type LogRequest } from "@pulumi/pulumi/proto/engine_pb";
import { ResourceProviderClient } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as pb from "@pulumi/pulumi/proto/provider_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { Struct, type JavaScriptValue } from "google-protobuf/google/protobuf/struct_pb";

/** A message in the engine's debug form. */
export type Json = JavaScriptValue;
/** An object of such. */
export type JsonObject = Record<string, Json>;

/** A line that a plugin sent to the engine's log. */
export interface LogLine {
  readonly severity: string;
  readonly message: string;
  readonly ephemeral: boolean;
}

/** A plugin's answer: a response in debug form, or an error as the engine prints it. */
export interface Answer {
  readonly response: JsonObject | null;
  readonly errors?: string[];
}

const REPOSITORY = resolve(__dirname, "../..");
const OPTIONS = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

/** A plugin that runs as the engine would run it: bundled, spawned, spoken to over gRPC. */
export class PluginProcess {
  private constructor(
    readonly process: ChildProcess,
    /** What it logged so far. */
    readonly logs: LogLine[],
    private readonly client: ResourceProviderClient,
    private readonly engine: grpc.Server,
  ) {}

  /** Bundles `lab/plugins/NAME.ts` into `directory`, as the lab's toolchain does. */
  static bundle(name: string, directory: string): string {
    const bundle = join(directory, `${name}.js`);
    const external = ["--external:cpu-features", "--external:*/sshcrypto.node"];
    const { status, stderr } = spawnSync(
      join(REPOSITORY, "node_modules/.bin/esbuild"),
      [join(REPOSITORY, `lab/plugins/${name}.ts`), "--bundle", "--platform=node", ...external, `--outfile=${bundle}`],
      { encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`cannot bundle ${name}: ${stderr}`);
    return bundle;
  }

  /** Starts a bundled plugin with an engine that only keeps the log. */
  static async start(bundle: string, cwd: string): Promise<PluginProcess> {
    const logs: LogLine[] = [];
    const engine = new grpc.Server(OPTIONS);
    engine.addService(EngineService, {
      log: (call: grpc.ServerUnaryCall<LogRequest, Empty>, callback: grpc.sendUnaryData<Empty>) => {
        const request = call.request;
        const severity = Object.entries(LogSeverity).find(([, value]) => value === request.getSeverity())?.[0] ?? "";
        logs.push({ severity, message: request.getMessage(), ephemeral: request.getEphemeral() });
        callback(null, new Empty());
      },
    });
    const enginePort = await new Promise<number>((done, fail) => {
      engine.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
        if (error) fail(error);
        else done(port);
      });
    });

    const environment = { ...process.env };
    delete environment.SSH_AUTH_SOCK;
    const child = spawn(process.execPath, [bundle, `127.0.0.1:${enginePort}`], {
      cwd,
      env: environment,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [port] = (await once(createInterface(child.stdout), "line")) as [string];
    const client = new ResourceProviderClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), OPTIONS);
    return new PluginProcess(child, logs, client, engine);
  }

  /** Ends the plugin and its engine. */
  async stop(): Promise<void> {
    this.client.close();
    this.engine.forceShutdown();
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exited = once(this.process, "exit");
    this.process.kill("SIGTERM");
    await exited;
  }

  /** Makes one call, in debug form both ways. */
  async call(method: string, request: JsonObject = {}): Promise<Answer> {
    const { client } = this;
    const text = (key: string) => textOf(request[key]);
    const struct = (key: string) => (isObject(request[key]) ? Struct.fromJavaScript(request[key]) : undefined);
    const preview = request.preview === true;
    try {
      switch (method) {
        case "Handshake": {
          const message = new pb.ProviderHandshakeRequest().setConfigureWithUrn(true);
          return ok(
            handshakeJson(
              await unary<pb.ProviderHandshakeRequest, pb.ProviderHandshakeResponse>(
                message,
                client.handshake.bind(client),
              ),
            ),
          );
        }
        case "CheckConfig":
        case "Check": {
          const message = new pb.CheckRequest().setUrn(text("urn")).setName(text("name")).setType(text("type"));
          message.setOlds(struct("olds")).setNews(struct("news")).setRandomseed(text("randomSeed"));
          const send = method === "Check" ? client.check.bind(client) : client.checkConfig.bind(client);
          const response = await unary<pb.CheckRequest, pb.CheckResponse>(message, send);
          return ok({ ...structJson("inputs", response.getInputs()), ...failuresJson(response.getFailuresList()) });
        }
        case "Configure": {
          const message = new pb.ConfigureRequest().setArgs(struct("args")).setAcceptsecrets(true);
          message.setAcceptresources(true).setSendsOldInputs(true).setSendsOldInputsToDelete(true);
          return ok(
            configureJson(
              await unary<pb.ConfigureRequest, pb.ConfigureResponse>(message, client.configure.bind(client)),
            ),
          );
        }
        case "Diff": {
          const message = new pb.DiffRequest().setId(text("id")).setUrn(text("urn")).setName(text("name"));
          message.setOlds(struct("olds")).setNews(struct("news")).setOldInputs(struct("oldInputs"));
          return ok(diffJson(await unary(message.setType(text("type")), client.diff.bind(client))));
        }
        case "Create": {
          const message = new pb.CreateRequest().setUrn(text("urn")).setName(text("name")).setType(text("type"));
          message.setProperties(struct("properties")).setPreview(preview);
          const response = await unary<pb.CreateRequest, pb.CreateResponse>(message, client.create.bind(client));
          return ok({ id: response.getId(), ...structJson("properties", response.getProperties()) });
        }
        case "Read": {
          const message = new pb.ReadRequest().setId(text("id")).setUrn(text("urn")).setName(text("name"));
          message.setType(text("type")).setProperties(struct("properties")).setInputs(struct("inputs"));
          const response = await unary<pb.ReadRequest, pb.ReadResponse>(message, client.read.bind(client));
          const { inputs, properties } = { inputs: response.getInputs(), properties: response.getProperties() };
          return ok({ id: response.getId(), ...structJson("properties", properties), ...structJson("inputs", inputs) });
        }
        case "Update": {
          const message = new pb.UpdateRequest().setId(text("id")).setUrn(text("urn")).setName(text("name"));
          message.setOlds(struct("olds")).setNews(struct("news")).setOldInputs(struct("oldInputs")).setPreview(preview);
          const response = await unary<pb.UpdateRequest, pb.UpdateResponse>(
            message.setType(text("type")),
            client.update.bind(client),
          );
          return ok(structJson("properties", response.getProperties()));
        }
        case "Delete": {
          const message = new pb.DeleteRequest().setId(text("id")).setUrn(text("urn")).setName(text("name"));
          message.setType(text("type")).setProperties(struct("properties")).setOldInputs(struct("oldInputs"));
          await unary(message, client.delete.bind(client));
          return ok({});
        }
        case "Invoke": {
          const message = new pb.InvokeRequest().setTok(text("tok")).setArgs(struct("args")).setPreview(preview);
          const response = await unary<pb.InvokeRequest, pb.InvokeResponse>(message, client.invoke.bind(client));
          return ok({ ...structJson("return", response.getReturn()), ...failuresJson(response.getFailuresList()) });
        }
        case "Cancel":
          await unary(new Empty(), client.cancel.bind(client));
          return ok({});
        default:
          throw new Error(`the harness does not know the method ${method}`);
      }
    } catch (error) {
      if (!isServiceError(error)) throw error;
      const code = grpc.status[error.code].toLowerCase().replace(/^./, (letter) => letter.toUpperCase());
      return { response: null, errors: [`rpc error: code = ${code} desc = ${error.details}`] };
    }
  }
}

/** A directory that `remove` takes away with all that is in it. */
export function temporaryDirectory(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "plugins-test-"));
  return {
    path,
    remove: () => {
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** Whether a debug form is an object. */
export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A text, or nothing. */
export function textOf(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

type Send<Request, Response> = (
  request: Request,
  callback: (error: grpc.ServiceError | null, response: Response) => void,
) => unknown;

function unary<Request, Response>(request: Request, send: Send<Request, Response>): Promise<Response> {
  return new Promise((done, fail) => {
    send(request, (error, response) => {
      if (error) fail(error);
      else done(response);
    });
  });
}

function ok(response: JsonObject): Answer {
  return { response };
}

function isServiceError(error: unknown): error is grpc.ServiceError {
  return error instanceof Error && "code" in error && "details" in error;
}

// The debug form leaves out what is false or empty.
function present(fields: JsonObject): JsonObject {
  const isEmpty = (value: Json | undefined) => value === false || (Array.isArray(value) && value.length === 0);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)));
}

function structJson(name: string, struct: Struct | undefined): JsonObject {
  return struct ? { [name]: struct.toJavaScript() } : {};
}

function failuresJson(failures: pb.CheckFailure[]): JsonObject {
  return present({
    failures: failures.map((failure) => ({ property: failure.getProperty(), reason: failure.getReason() })),
  });
}

function handshakeJson(response: pb.ProviderHandshakeResponse): JsonObject {
  return present({
    acceptSecrets: response.getAcceptSecrets(),
    acceptResources: response.getAcceptResources(),
    acceptOutputs: response.getAcceptOutputs(),
    supportsAutonamingConfiguration: response.getSupportsAutonamingConfiguration(),
  });
}

function configureJson(response: pb.ConfigureResponse): JsonObject {
  return present({
    acceptSecrets: response.getAcceptsecrets(),
    supportsPreview: response.getSupportspreview(),
    acceptResources: response.getAcceptresources(),
    acceptOutputs: response.getAcceptoutputs(),
    supportsAutonamingConfiguration: response.getSupportsAutonamingConfiguration(),
  });
}

function diffJson(response: pb.DiffResponse): JsonObject {
  const nameOf = (values: object, value: number) =>
    Object.entries(values).find((entry) => entry[1] === value)?.[0] ?? "";
  const detailedDiff: JsonObject = {};
  response.getDetaileddiffMap().forEach((change, path) => {
    detailedDiff[path] = { kind: nameOf(pb.PropertyDiff.Kind, change.getKind()) };
  });
  return present({
    replaces: response.getReplacesList(),
    stables: response.getStablesList(),
    deleteBeforeReplace: response.getDeletebeforereplace(),
    changes: nameOf(pb.DiffResponse.DiffChanges, response.getChanges()),
    diffs: response.getDiffsList(),
    ...(Object.keys(detailedDiff).length > 0 && { detailedDiff }),
    hasDetailedDiff: response.getHasdetaileddiff(),
  });
}
