"use strict";

const pulumi = require("@pulumi/pulumi");
const { version } = require("./package.json");

const TOKEN = "cloudinit:index/getConfig:getConfig";

// The version tells the engine which plugin to start; a caller that names another one gets that.
function invokeOptions(opts) {
  return pulumi.mergeOptions({ version }, opts ?? {});
}

// Only the arguments that the provider knows: it refuses any other.
function invokeArgs({ base64Encode, boundary, gzip, parts }) {
  return { base64Encode, boundary, gzip, parts };
}

module.exports = {
  getConfig: (args, opts) => pulumi.runtime.invoke(TOKEN, invokeArgs(args ?? {}), invokeOptions(opts)),
  getConfigOutput: (args, opts) => pulumi.runtime.invokeOutput(TOKEN, invokeArgs(args ?? {}), invokeOptions(opts)),
};
