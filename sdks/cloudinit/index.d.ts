import type * as pulumi from "@pulumi/pulumi";

/** One part of the MIME document. */
export interface GetConfigPart {
  /** The part's body. */
  content: string;
  /** Its MIME type, for example `text/cloud-config`. Default: `text/plain`. */
  contentType?: string;
  /** The name that it is told to have. */
  filename?: string;
  /** How cloud-init joins it with the other parts (its `X-Merge-Type`). */
  mergeType?: string;
}

/** Arguments of {@link getConfig}. */
export interface GetConfigArgs {
  /** Encode the document in base64. Default: `true`; must be `true` when `gzip` is. */
  base64Encode?: boolean;
  /** What separates the parts. Default: `MIMEBOUNDARY`. */
  boundary?: string;
  /** Compress the document. Default: `true`. */
  gzip?: boolean;
  /** The parts, in order. */
  parts?: GetConfigPart[];
}

/** Result of {@link getConfig}. */
export interface GetConfigResult {
  readonly base64Encode?: boolean;
  readonly boundary: string;
  readonly gzip?: boolean;
  /** A checksum of `rendered`. */
  readonly id: string;
  readonly parts?: GetConfigPart[];
  /** The user-data. */
  readonly rendered: string;
}

/** One part of the MIME document, of values that need not be known yet. */
export interface GetConfigPartArgs {
  /** The part's body. */
  content: pulumi.Input<string>;
  /** Its MIME type, for example `text/cloud-config`. Default: `text/plain`. */
  contentType?: pulumi.Input<string>;
  /** The name that it is told to have. */
  filename?: pulumi.Input<string>;
  /** How cloud-init joins it with the other parts (its `X-Merge-Type`). */
  mergeType?: pulumi.Input<string>;
}

/** Arguments of {@link getConfigOutput}: those of {@link getConfig}, of values that need not be known yet. */
export interface GetConfigOutputArgs {
  /** Encode the document in base64. Default: `true`; must be `true` when `gzip` is. */
  base64Encode?: pulumi.Input<boolean>;
  /** What separates the parts. Default: `MIMEBOUNDARY`. */
  boundary?: pulumi.Input<string>;
  /** Compress the document. Default: `true`. */
  gzip?: pulumi.Input<boolean>;
  /** The parts, in order. */
  parts?: pulumi.Input<pulumi.Input<GetConfigPartArgs>[]>;
}

/** Renders cloud-init user-data as one MIME document. */
export declare function getConfig(args?: GetConfigArgs, opts?: pulumi.InvokeOptions): Promise<GetConfigResult>;

/** Renders cloud-init user-data as one MIME document. Secret when an argument is. */
export declare function getConfigOutput(
  args?: GetConfigOutputArgs,
  opts?: pulumi.InvokeOutputOptions,
): pulumi.Output<GetConfigResult>;
