import * as grpc from "@grpc/grpc-js";
import { EngineClient } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";
import { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import { ResourceProviderService } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as pb from "@pulumi/pulumi/proto/provider_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import type { Change } from "./diff";
import type { Properties } from "./values";

/** An input that the provider will not take. */
export interface Failure {
  readonly property: string;
  readonly reason: string;
}

/** What differs between a resource as it is and as it should be. */
export interface Diff {
  /** The properties that differ. */
  readonly changed: string[];
  /** Those of them that only a new resource can satisfy. */
  readonly replaces?: string[];
  /** Each path that differs. */
  readonly detailed?: Record<string, Change>;
}

/** What an operation knows about its surroundings. */
export interface Operation {
  readonly name: string;
  /** Only asked what would happen. */
  readonly preview: boolean;
  /** Aborted when the engine cancels: what has not begun must not begin. */
  readonly signal: AbortSignal;
  /** Shows a line beside the resource. An ephemeral one gives way to the next. */
  readonly log: (severity: "info" | "warning" | "error", message: string, ephemeral: boolean) => void;
}

/** A resource type: what the engine asks of it, in plain values. */
export interface Resource {
  check(news: Properties): { inputs: Properties; failures?: Failure[] };
  diff(state: Properties, oldInputs: Properties, news: Properties): Diff;
  create(inputs: Properties, operation: Operation): Promise<{ id: string; state: Properties }>;
  read(state: Properties): Properties;
  readonly update?: (
    state: Properties,
    oldInputs: Properties,
    news: Properties,
    operation: Operation,
  ) => Promise<Properties>;
  delete?(state: Properties, operation: Operation): Promise<void>;
}

/** A function: its result, or why its arguments will not do. */
export type Invoke = (args: Properties, operation: Operation) => Promise<Properties | Failure[]>;

/** What a provider plugin can do and which parts of the protocol it takes. */
export interface Plugin {
  readonly name: string;
  readonly version: string;
  /** Absent: the plugin is of the kind that does not know this call. */
  readonly handshake?: { acceptSecrets: boolean; acceptResources: boolean; acceptOutputs: boolean };
  readonly configure: {
    acceptSecrets?: boolean;
    acceptOutputs?: boolean;
    supportsAutonamingConfiguration?: boolean;
  };
  readonly resources: Readonly<Record<string, Resource>>;
  readonly functions: Readonly<Record<string, Invoke>>;
}

// Outputs of commands travel whole in one message.
const CHANNEL_OPTIONS = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

const SEVERITIES = { info: LogSeverity.INFO, warning: LogSeverity.WARNING, error: LogSeverity.ERROR };

/** Lets handlers give up a call with a status of their own. */
class StatusError extends Error {
  constructor(
    readonly code: grpc.status,
    message: string,
  ) {
    super(message);
  }
}

/** The engine's log, whose address may come on the command line or later. */
class EngineLog {
  private client: EngineClient | undefined;
  private readonly sent = new Set<Promise<void>>();

  connect(address: string): void {
    this.client ??= new EngineClient(address, grpc.credentials.createInsecure(), CHANNEL_OPTIONS);
  }

  write(urn: string, severity: keyof typeof SEVERITIES, message: string, ephemeral: boolean): void {
    const { client } = this;
    if (client === undefined) return;
    const request = new LogRequest().setUrn(urn).setMessage(message).setEphemeral(ephemeral);
    request.setSeverity(SEVERITIES[severity]);
    const done = new Promise<void>((resolve) => {
      // A line that the engine does not take is no reason to fail what it told about.
      client.log(request, () => {
        resolve();
      });
    });
    this.sent.add(done);
    void done.then(() => this.sent.delete(done));
  }

  /** The engine drops lines that come after the answer. */
  async flush(): Promise<void> {
    await Promise.all(this.sent);
  }
}

/**
 * Serves a plugin to the engine that started this process, and ends with it. `process.argv[2]` is the engine's address;
 * the port goes to standard output, as the engine expects.
 */
export function serve(plugin: Plugin): void {
  const log = new EngineLog();
  const cancellation = new AbortController();
  if (process.argv[2] !== undefined) log.connect(process.argv[2]);

  const server = new grpc.Server(CHANNEL_OPTIONS);
  server.addService(ResourceProviderService, handlers(plugin, log, cancellation));
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) {
      process.stderr.write(`${plugin.name}: cannot listen on the loopback address: ${error.message}\n`);
      process.exit(1);
    }
    process.stdout.write(`${port}\n`);
  });

  endWithEngine(() => {
    cancellation.abort();
    server.forceShutdown();
    // Local commands are killed and connections closed in the turn of the event loop that this leaves them.
    setImmediate(() => process.exit(0));
  });
}

function endWithEngine(end: () => void): void {
  process.once("SIGINT", end).once("SIGTERM", end);
  // A killed engine sends nothing: its orphans are handed to another parent, or, before it read the port, cannot print that.
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) end();
  }, 1000).unref();
  process.stdout.on("error", end);
}

function handlers(plugin: Plugin, log: EngineLog, cancellation: AbortController): grpc.UntypedServiceImplementation {
  const operation = (urn: string, name: string, preview: boolean): Operation => ({
    name: name || (urn.split("::").pop() ?? ""),
    preview,
    signal: cancellation.signal,
    log: (severity, message, ephemeral) => {
      log.write(urn, severity, message, ephemeral);
    },
  });
  const resource = (urn: string): Resource => {
    const type = urn.split("::")[2]?.split("$").pop() ?? "";
    const found = plugin.resources[type];
    if (found) return found;
    throw new StatusError(
      grpc.status.UNIMPLEMENTED,
      `the lab's own ${plugin.name} plugin does not know the resource type "${type}"; use the official plugin`,
    );
  };
  const unary =
    <Request, Response>(handle: (request: Request) => Response | Promise<Response>) =>
    (call: grpc.ServerUnaryCall<Request, Response>, callback: grpc.sendUnaryData<Response>) => {
      void answer(() => handle(call.request), callback, log);
    };

  return {
    ...(plugin.handshake && {
      handshake: unary((request: pb.ProviderHandshakeRequest) => {
        log.connect(request.getEngineAddress());
        const response = new pb.ProviderHandshakeResponse();
        response.setAcceptSecrets(plugin.handshake?.acceptSecrets ?? false);
        response.setAcceptResources(plugin.handshake?.acceptResources ?? false);
        return response.setAcceptOutputs(plugin.handshake?.acceptOutputs ?? false);
      }),
    }),
    ...(!plugin.handshake && {
      handshake: unary(() => {
        throw new StatusError(grpc.status.UNIMPLEMENTED, "Handshake is not yet implemented");
      }),
    }),
    attach: unary((request: { getAddress(): string }) => {
      log.connect(request.getAddress());
      return new Empty();
    }),
    getPluginInfo: unary(() => new PluginInfo().setVersion(plugin.version)),
    getSchema: unary(() =>
      new pb.GetSchemaResponse().setSchema(JSON.stringify({ name: plugin.name, version: plugin.version })),
    ),
    cancel: unary(() => {
      cancellation.abort(new Error("the update was cancelled before this command began"));
      return new Empty();
    }),
    checkConfig: unary((request: pb.CheckRequest) => new pb.CheckResponse().setInputs(request.getNews())),
    diffConfig: unary(() => new pb.DiffResponse()),
    configure: unary(() => {
      const response = new pb.ConfigureResponse().setSupportspreview(true).setAcceptresources(true);
      response.setAcceptsecrets(plugin.configure.acceptSecrets ?? false);
      response.setAcceptoutputs(plugin.configure.acceptOutputs ?? false);
      response.setSupportsAutonamingConfiguration(plugin.configure.supportsAutonamingConfiguration ?? false);
      return response;
    }),
    check: unary((request: pb.CheckRequest) => {
      const { inputs, failures } = resource(request.getUrn()).check(plain(request.getNews()));
      return new pb.CheckResponse().setInputs(struct(inputs)).setFailuresList((failures ?? []).map(checkFailure));
    }),
    diff: unary((request: pb.DiffRequest) => {
      const [state, oldInputs, news] = [request.getOlds(), request.getOldInputs(), request.getNews()].map(plain);
      return diffResponse(resource(request.getUrn()).diff(state ?? {}, oldInputs ?? {}, news ?? {}));
    }),
    create: unary(async (request: pb.CreateRequest) => {
      const context = operation(request.getUrn(), request.getName(), request.getPreview());
      const { id, state } = await resource(request.getUrn()).create(plain(request.getProperties()), context);
      return new pb.CreateResponse().setId(request.getPreview() ? "" : id).setProperties(struct(state));
    }),
    read: unary((request: pb.ReadRequest) => {
      const state = plain(request.getProperties());
      if (Object.keys(state).length === 0) {
        throw new Error(`the lab's own ${plugin.name} plugin cannot import a resource; use the official plugin`);
      }
      const properties = struct(resource(request.getUrn()).read(state));
      return new pb.ReadResponse().setId(request.getId()).setProperties(properties).setInputs(request.getInputs());
    }),
    update: unary(async (request: pb.UpdateRequest) => {
      const { update } = resource(request.getUrn());
      if (!update) throw new Error("this resource type can only be replaced");
      const [state, oldInputs, news] = [request.getOlds(), request.getOldInputs(), request.getNews()].map(plain);
      const context = operation(request.getUrn(), request.getName(), request.getPreview());
      return new pb.UpdateResponse().setProperties(
        struct(await update(state ?? {}, oldInputs ?? {}, news ?? {}, context)),
      );
    }),
    delete: unary(async (request: pb.DeleteRequest) => {
      const context = operation(request.getUrn(), request.getName(), false);
      await resource(request.getUrn()).delete?.(plain(request.getProperties()), context);
      return new Empty();
    }),
    invoke: unary(async (request: pb.InvokeRequest) => {
      const invoke = plugin.functions[request.getTok()];
      if (!invoke) {
        throw new StatusError(
          grpc.status.UNIMPLEMENTED,
          `the lab's own ${plugin.name} plugin does not know the function "${request.getTok()}"; use the official plugin`,
        );
      }
      const result = await invoke(plain(request.getArgs()), operation("", "", request.getPreview()));
      const response = new pb.InvokeResponse();
      return Array.isArray(result)
        ? response.setReturn(struct({})).setFailuresList(result.map(checkFailure))
        : response.setReturn(struct(result));
    }),
  };
}

async function answer<Response>(
  handle: () => Response | Promise<Response>,
  callback: grpc.sendUnaryData<Response>,
  log: EngineLog,
): Promise<void> {
  try {
    const response = await handle();
    await log.flush();
    callback(null, response);
  } catch (error) {
    await log.flush();
    const code = error instanceof StatusError ? error.code : grpc.status.UNKNOWN;
    callback({ code, details: error instanceof Error ? error.message : String(error) });
  }
}

function plain(message: Struct | undefined): Properties {
  return message?.toJavaScript() ?? {};
}

function struct(properties: Properties): Struct {
  return Struct.fromJavaScript(properties);
}

function checkFailure(failure: Failure): pb.CheckFailure {
  return new pb.CheckFailure().setProperty(failure.property).setReason(failure.reason);
}

function diffResponse(diff: Diff): pb.DiffResponse {
  const { DIFF_NONE, DIFF_SOME } = pb.DiffResponse.DiffChanges;
  const response = new pb.DiffResponse();
  response.setChanges(diff.changed.length > 0 ? DIFF_SOME : DIFF_NONE);
  response.setDiffsList(diff.changed).setReplacesList(diff.replaces ?? []);
  if (diff.detailed) {
    response.setHasdetaileddiff(true);
    for (const [path, change] of Object.entries(diff.detailed)) {
      response.getDetaileddiffMap().set(path, new pb.PropertyDiff().setKind(pb.PropertyDiff.Kind[change]));
    }
  }
  return response;
}
