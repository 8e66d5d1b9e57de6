// What both Node judges share: a JSON command a line on stdin, a JSON answer a line on stdout, in the order in which they
// came; tests/interop/judges.py says what commands there are. Packages are found in the folder that is the first argument.

import { createRequire } from 'node:module'
import readline from 'node:readline'

export const load = createRequire(`${process.argv[2]}/package.json`)

export const text = bytes => (bytes === null || bytes === undefined ? null : bytes.toString())
export const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
export const UNSUPPORTED = { unsupported: true }

// The number that came over the wire, wherever the client has wrapped it; -1 for the client's own failures.
export function codeOf (error) {
  for (const key of ['apiCode', 'errorCode', 'code']) {
    if (Number.isInteger(error?.[key])) return error[key]
  }
  const inner = [error?.cause, error?.originalError, ...(error?.errors ?? []), ...(error?.groups ?? []), ...(error?.partitions ?? [])]
  for (const one of inner) {
    const found = one ? codeOf(one) : -1
    if (found !== -1) return found
  }
  return -1
}

export const refused = error => ({ code: codeOf(error), error: `${error?.stack ?? error}`.slice(0, 1500) })

// 0, or the code of what was refused.
export async function code (promise) {
  try {
    await promise
    return 0
  } catch (error) {
    return codeOf(error)
  }
}

// A list that a client fills from behind, and of which `take` hands out the next ones.
export class Shelf {
  constructor () {
    this.records = []
    this.failure = null
  }

  async take (count, waitMs = 20_000) {
    const deadline = Date.now() + waitMs
    while (this.records.length < count && Date.now() < deadline) {
      if (this.failure) throw this.failure
      await pause(10)
    }
    return this.records.splice(0, count)
  }
}

export async function serve (ops) {
  for (const event of ['unhandledRejection', 'uncaughtException']) process.on(event, error => console.error(event, error))
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line)
    let answer
    try {
      answer = ops[command.op] ? ((await ops[command.op](command)) ?? {}) : UNSUPPORTED
    } catch (error) {
      answer = refused(error)
    }
    process.stdout.write(`${JSON.stringify(answer, (_, value) => (typeof value === 'bigint' ? Number(value) : value))}\n`)
  }
  process.exit(0)
}
