/** @type {import("jest").Config} */
const common = {
  rootDir: __dirname,
  testEnvironment: "node",
  transform: { "^.+\\.(t|j)s$": ["@swc/jest", { jsc: { target: "es2022", parser: { syntax: "typescript" } } }] },
  // matrix-js-sdk and its dependencies are published as ES modules only.
  transformIgnorePatterns: [
    "/node_modules/(?!(matrix-js-sdk|matrix-events-sdk|matrix-widget-api|oidc-client-ts|jwt-decode|uuid|p-retry|is-network-error|@matrix-org|bs58|base-x|another-json|sdp-transform|unhomoglyph)/)",
  ],
  // The temporary folder of a test run goes with it; what was compiled is for the next one.
  cacheDirectory: "<rootDir>/node_modules/.cache/jest",
  modulePathIgnorePatterns: ["<rootDir>/.lab/"],
};

module.exports = {
  projects: [
    { ...common, displayName: "unit", testMatch: ["<rootDir>/test/unit/**/*.test.ts"] },
    { ...common, displayName: "e2e", testMatch: ["<rootDir>/test/e2e/**/*.test.ts"] },
    // What takes too long to be run with every change: on lab hosts, too.
    { ...common, displayName: "slow", testMatch: ["<rootDir>/test/slow/**/*.test.ts"] },
  ],
};
