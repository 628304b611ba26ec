// SPDX-License-Identifier: MIT
// node check.mjs FILE...: checks manifests of Kubernetes (.yaml) and the form of jobs of Nomad (.hcl).
// Two packages of npm judge each document of Kubernetes, as neither knows all: the schemas of
// kubernetes-models (formats, required fields), which accept unknown fields, and the types of
// kubernetes-types under the compiler of TypeScript, which do not. Packer reads Nomad's language.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";

const here = dirname(fileURLToPath(import.meta.url));
let passed = 0;
let failed = 0;

function report(what, problem) {
  if (problem) console.log(`FAILED ${what}: ${problem}`);
  problem ? failed++ : passed++;
}

// "apps/v1" is the module apps/v1 in both packages, "v1" is core/v1 in the second one, and
// "networking.k8s.io/v1" loses its domain there.
async function schemaProblem({ apiVersion, kind, ...fields }) {
  try {
    const models = await import(`kubernetes-models/${apiVersion}`);
    if (!models[kind]) return `${apiVersion} has no ${kind}`;
    new models[kind](fields).validate();
  } catch (error) {
    return error.message;
  }
}

// The problem that a command finds in a file of a folder that `fill` makes, if any.
function problemOfCommand(fill, program, ...words) {
  const dir = mkdtempSync(join(here, "check-"));
  try {
    execFileSync(program, [...words, fill(dir)], { encoding: "utf8", stdio: "pipe" });
  } catch (error) {
    return (error.stdout ?? "") + (error.stderr ?? error.message);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function hclProblem(path) {
  return problemOfCommand((dir) => {
    copyFileSync(path, join(dir, "job.pkr.hcl"));
    return join(dir, "job.pkr.hcl");
  }, "packer", "fmt", "-check", "-diff");
}

function typeProblem(manifest) {
  const group = manifest.apiVersion.includes("/") ? manifest.apiVersion : `core/${manifest.apiVersion}`;
  return problemOfCommand((dir) => {
    const file = join(dir, "manifest.ts");
    writeFileSync(file, `import type { ${manifest.kind} } from "kubernetes-types/${group.replace(".k8s.io", "")}";\n`
      + `export const manifest: ${manifest.kind} = ${JSON.stringify(manifest, null, 2)};\n`);
    return file;
  }, join(here, "node_modules/.bin/tsc"), "--noEmit", "--strict", "--skipLibCheck");
}

async function problemOf(manifest) {
  return (await schemaProblem(manifest)) ?? typeProblem(manifest);
}

// A manifest with a fault of each sort must be refused, or this checks nothing.
const sound = {
  apiVersion: "v1", kind: "Service", metadata: { name: "x" }, spec: { ports: [{ port: 1 }] },
};
const faults = {
  "an unknown kind": { ...sound, kind: "Servise" },
  "an unknown field": { ...sound, spec: { ...sound.spec, selectors: {} } },
  "a value of another type": { ...sound, spec: { ports: [{ port: "http" }] } },
  "a missing field": { ...sound, spec: { ports: [{}] } },
};
report("a sound manifest", await problemOf(sound));
for (const [fault, manifest] of Object.entries(faults))
  report(`${fault} is found`, (await problemOf(manifest)) ? undefined : "it is accepted");

for (const file of process.argv.slice(2)) {
  if (file.endsWith(".hcl")) {
    report(file, hclProblem(file));
    continue;
  }
  for (const document of parseAllDocuments(readFileSync(file, "utf8"))) {
    const manifest = document.toJS();
    report(`${file}: ${manifest.kind}`, document.errors[0]?.message ?? (await problemOf(manifest)));
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
