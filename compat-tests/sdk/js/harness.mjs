// What the behaviours share: clients, how a behaviour says that it fails, buckets that go when it is through, and the report.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import http from "node:http";

import * as s3 from "@aws-sdk/client-s3";
import { NodeHttpHandler } from "@smithy/node-http-handler";

export const KIB = 1 << 10;
export const MIB = 1 << 20;
export const region = "us-east-1";
export const endpoint = new URL(process.env.SDK_ENDPOINT);
export const credentials = { accessKeyId: process.env.SDK_ACCESS_KEY, secretAccessKey: process.env.SDK_SECRET_KEY };

// A client with the SDK's defaults, but for what `change` says.
export function client(change = {}) {
  return new s3.S3({ endpoint: endpoint.href, region, credentials, forcePathStyle: true, maxAttempts: 2, ...change });
}
export const c = client();

// An agent that finds every host at the server's address, as wildcards in a name server would.
export const anyHost = new http.Agent({
  lookup: (_, options, found) =>
    options.all ? found(null, [{ address: endpoint.hostname, family: 4 }]) : found(null, endpoint.hostname, 4),
});
export const handler = (agent) => new NodeHttpHandler({ httpAgent: agent });

export const { equal, deepEqual, ok } = assert;

export function sameBytes(got, wanted, what) {
  ok(Buffer.compare(Buffer.from(got), Buffer.from(wanted)) === 0, `${what}: ${got.length} other bytes instead of ${wanted.length}`);
}

// The call must fail with this name (any if empty) and status; with an error of the SDK's class if one is given.
export async function refused(call, name, status, type) {
  let error;
  try {
    await call;
  } catch (caught) {
    error = caught;
  }
  ok(error, `it succeeded instead of ${name} ${status}`);
  equal(error.$metadata?.httpStatusCode, status, `status of ${error}`);
  if (name) equal(error.name, name, `name of ${error}`);
  if (type) ok(error instanceof type, `${error} is no ${type.name}`);
  return error;
}

// Bytes that do not repeat, the same for the same size.
export function body(size) {
  const content = Buffer.alloc(size);
  let state = size * 2654435761 + 1;
  for (let index = 0; index < size; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    content[index] = state >>> 24;
  }
  return content;
}

export const etagOf = (content) => `"${createHash("md5").update(content).digest("hex")}"`;

let numbers = 0;
export const prefix = `sdk-js-${process.pid}-`;
export const newName = () => `${prefix}${++numbers}`;

let after = [];
export const afterwards = (what) => after.push(what);

export async function bucket(change = {}) {
  const Bucket = newName();
  await c.createBucket({ Bucket, ...change });
  afterwards(() => remove(Bucket));
  return Bucket;
}

async function remove(Bucket) {
  for (const { Key, UploadId } of (await c.listMultipartUploads({ Bucket })).Uploads ?? [])
    await c.abortMultipartUpload({ Bucket, Key, UploadId });
  for (;;) {
    const page = await c.listObjectVersions({ Bucket });
    const Objects = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])].map(({ Key, VersionId }) => ({ Key, VersionId }));
    if (Objects.length === 0) break;
    const told = await c.deleteObjects({ Bucket, Delete: { Objects }, BypassGovernanceRetention: true });
    deepEqual(told.Errors ?? [], []);
  }
  await c.deleteBucket({ Bucket });
}

export const put = (Bucket, Key, Body, more = {}) => c.putObject({ Bucket, Key, Body, ...more });
export const head = (Bucket, Key, more = {}) => c.headObject({ Bucket, Key, ChecksumMode: "ENABLED", ...more });
export const get = (Bucket, Key, more = {}) => c.getObject({ Bucket, Key, ...more });
export const bytes = async (output) => output.Body.transformToByteArray();
export const text = async (output) => output.Body.transformToString();
export const keysOf = (page) => (page.Contents ?? []).map((each) => each.Key);
export const enableVersions = (Bucket) =>
  c.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: "Enabled" } });

// Does `work` for 0..count, 32 at a time.
export async function parallel(count, work) {
  let next = 0;
  const one = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: 32 }, one));
}

export async function putMany(Bucket, count, name) {
  const keys = Array.from({ length: count }, (_, number) => name(number));
  await parallel(count, (number) => put(Bucket, keys[number], `${number}`));
  return keys;
}

// What a plain HTTP client is answered.
export function plain(method, url, { headers = {}, content, agent } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent, timeout: 30_000 }, (answer) => {
      let said = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece) => (said += piece));
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, text: said }));
      answer.on("error", reject);
    });
    request.on("timeout", () => request.destroy(new Error("no answer in time")));
    request.on("error", reject);
    request.end(content);
  });
}

// Tries the behaviours, or those that are named by the arguments, and prints a line of JSON for each.
export async function main(behaviours) {
  const only = process.argv.slice(2);
  for (const [name, behaviour] of Object.entries(behaviours)) {
    if (only.length > 0 && !only.includes(name)) continue;
    const start = Date.now();
    let message = "";
    after = [];
    try {
      await behaviour();
    } catch (error) {
      message = `${error.stack ?? error}` || "it failed";
    }
    for (const each of after) {
      try {
        await each();
      } catch (error) {
        message ||= `afterwards: ${error.stack ?? error}`;
      }
    }
    console.log(JSON.stringify({ name, ok: message === "", message, seconds: (Date.now() - start) / 1000 }));
  }
  process.exit(0);
}
