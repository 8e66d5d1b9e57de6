// kafkajs as one of the judges. It has no lz4, snappy and zstd of its own: they are plugged in as its documentation says.
// It cannot read a partition without a group, so that a reader is the only member of a group of its own.

import zlib from 'node:zlib'
import { code, load, refused, serve, Shelf, text, UNSUPPORTED } from './judge.mjs'

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'
const { Kafka, CompressionTypes, CompressionCodecs, AssignerProtocol, logLevel } = load('kafkajs')
const lz4 = load('lz4js')
const snappy = load('snappyjs')

const plug = (compress, decompress) => () => ({
  compress: async encoder => Buffer.from(compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(decompress(buffer))
})

// The blocks of snappy-java's stream: a header of 16 bytes, then each block behind its length; or one bare block.
function unsnappy (buffer) {
  if (!buffer.subarray(0, 8).equals(Buffer.from('82534e4150505900', 'hex'))) return snappy.uncompress(buffer)
  const blocks = []
  for (let at = 16; at < buffer.length;) {
    const size = buffer.readInt32BE(at)
    blocks.push(snappy.uncompress(buffer.subarray(at + 4, at + 4 + size)))
    at += 4 + size
  }
  return Buffer.concat(blocks)
}

// A frame as Kafka's own codec makes it: blocks of at most 64 KiB that do not refer to one another. Those of lz4js do, and
// Kafka refuses them.
function lz4Frame (bytes) {
  const parts = [Buffer.from('04224d18604082', 'hex')]
  for (let at = 0; at < bytes.length; at += 65536) {
    const block = Buffer.from(bytes.subarray(at, at + 65536))
    const packed = Buffer.alloc(lz4.compressBound(block.length))
    const size = lz4.compressBlock(block, packed, 0, block.length, new Uint32Array(1 << 16))
    const length = Buffer.alloc(4)
    length.writeUInt32LE(size > 0 && size < block.length ? size : (block.length | 0x80000000) >>> 0)
    parts.push(length, size > 0 && size < block.length ? packed.subarray(0, size) : block)
  }
  return Buffer.concat([...parts, Buffer.alloc(4)])
}

CompressionCodecs[CompressionTypes.LZ4] = plug(lz4Frame, lz4.decompress)
CompressionCodecs[CompressionTypes.Snappy] = plug(snappy.compress, unsnappy)
CompressionCodecs[CompressionTypes.ZSTD] = plug(zlib.zstdCompressSync, zlib.zstdDecompressSync)
const CODECS = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }
const RESOURCES = { topic: 2, broker: 4 }

const clients = {}
const producers = {}
const readers = {}
const members = {}
let admins
let groups = 0

const client = c => (clients[c.bootstrap] ??= new Kafka({
  brokers: [c.bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 20 }
}))

async function admin (c) {
  if (!admins) {
    admins = client(c).admin({ retry: { retries: 3 } })
    await admins.connect()
  }
  return admins
}

async function produce (c) {
  let producer = producers[c.id]
  if (!producer) {
    producer = client(c).producer({ idempotent: c.idempotent === true, maxInFlightRequests: 1 })
    await producer.connect()
    if (c.id) producers[c.id] = producer
  }
  try {
    const messages = c.records.map(r => ({
      key: r.key, value: r.value, partition: c.partition ?? 0, timestamp: `${r.timestamp}`, headers: Object.fromEntries(r.headers)
    }))
    const told = await producer.send({ topic: c.topic, messages, acks: c.acks ?? -1, compression: CODECS[c.codec ?? 'none'] })
    return { offsets: (told ?? []).map(one => Number(one.baseOffset)) }
  } finally {
    if (!c.id) await producer.disconnect()
  }
}

const seen = (partition, m) => ({
  partition, offset: Number(m.offset), timestamp: Number(m.timestamp), key: text(m.key), value: text(m.value),
  headers: Object.entries(m.headers ?? {}).map(([name, value]) => [name, text(value)])
})

const consumer = (c, groupId) => client(c).consumer({
  groupId, sessionTimeout: 10_000, rebalanceTimeout: 10_000, heartbeatInterval: 200, maxWaitTimeInMs: 100
})

async function position (c) {
  if (Number.isInteger(c.from)) return c.from
  const of = rows => rows.find(one => one.partition === (c.partition ?? 0))
  if (c.from === 'stored') {
    const [topic] = await (await admin(c)).fetchOffsets({ groupId: c.group, topics: [c.topic] })
    return Number(of(topic.partitions).offset)
  }
  if (c.from.timestamp !== undefined) {
    return Number(of(await (await admin(c)).fetchTopicOffsetsByTimestamp(c.topic, c.from.timestamp)).offset)
  }
  const found = of(await (await admin(c)).fetchTopicOffsets(c.topic))
  return Number(c.from === 'beginning' ? found.low : found.high)
}

// Whenever the reader joins its group, also after it was thrown out of it, it goes on where it was.
async function seek (c) {
  const at = await position(c)
  const partition = c.partition ?? 0
  const reader = consumer(c, `reader-${process.pid}-${groups++}`)
  const shelf = new Shelf()
  let next = null
  const joined = new Promise(resolve => reader.on(reader.events.GROUP_JOIN, () => {
    next ??= at
    reader.seek({ topic: c.topic, partition, offset: `${next}` })
    resolve()
  }))
  await reader.connect()
  await reader.subscribe({ topics: [c.topic], fromBeginning: c.reset !== 'latest' })
  await reader.run({
    autoCommit: false,
    eachMessage: async m => {
      if (next === null || m.partition !== partition) return
      next = Number(m.message.offset) + 1
      shelf.records.push(seen(partition, m.message))
    }
  })
  await joined
  readers[c.id] = { reader, shelf }
  return { position: at }
}

async function close (c) {
  await producers[c.id]?.disconnect()
  await readers[c.id]?.reader.disconnect()
  delete producers[c.id]
  delete readers[c.id]
}

async function join (c) {
  if (c.protocol === 'consumer' || c.instance || c.assignor === 'cooperative-sticky') return UNSUPPORTED
  const me = consumer(c, c.group)
  const member = (members[c.id] = { me, owned: [], read: [], positions: new Map(), failure: null })
  me.on(me.events.GROUP_JOIN, ({ payload }) => {
    member.positions.clear()
    member.owned = Object.entries(payload.memberAssignment).flatMap(([topic, numbers]) => numbers.map(n => `${topic}-${n}`)).sort()
  })
  me.on(me.events.REBALANCING, () => { member.owned = [] })
  me.on(me.events.CRASH, ({ payload }) => { member.failure = payload.restart ? null : payload.error })
  await me.connect()
  await me.subscribe({ topics: c.topics, fromBeginning: true })
  await me.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => {
      member.read.push([partition, Number(message.offset), text(message.value)])
      member.positions.set(`${topic}-${partition}`, { topic, partition, offset: `${BigInt(message.offset) + 1n}` })
    }
  })
}

const ops = {
  produce,
  seek,
  poll: async c => ({ records: await readers[c.id].shelf.take(c.count, c.wait_ms) }),
  close,
  join,
  member: ({ id }) => ({
    assignment: members[id].owned, read: members[id].read, ...(members[id].failure ? refused(members[id].failure) : {})
  }),
  commit: ({ id }) => members[id].me.commitOffsets([...members[id].positions.values()]),
  leave: async ({ id }) => {
    await members[id].me.disconnect()
    delete members[id]
  },

  create_topics: async c => {
    const answer = {}
    for (const one of c.topics) {
      const configEntries = Object.entries(one.config ?? {}).map(([name, value]) => ({ name, value }))
      const wanted = { topic: one.name, numPartitions: one.partitions, replicationFactor: one.replicas, configEntries }
      try {
        const made = await (await admin(c)).createTopics({ topics: [wanted], validateOnly: c.validate === true })
        answer[one.name] = made ? 0 : 36
      } catch (error) {
        answer[one.name] = refused(error).code
      }
    }
    return answer
  },
  delete_topics: async c => ({ [c.names[0]]: await code((await admin(c)).deleteTopics({ topics: c.names })) }),
  create_partitions: async c => ({
    [c.name]: await code((await admin(c)).createPartitions({ topicPartitions: [{ topic: c.name, count: c.count }] }))
  }),
  list_topics: async c => ({ names: await (await admin(c)).listTopics() }),
  describe_topic: async c => {
    const { topics: [topic] } = await (await admin(c)).fetchTopicMetadata({ topics: [c.name] })
    const partitions = topic.partitions.map(p => ({
      partition: p.partitionId, leader: p.leader, replicas: p.replicas, isr: p.isr, error: p.partitionErrorCode
    }))
    return { partitions: partitions.sort((a, b) => a.partition - b.partition) }
  },
  describe_config: async c => {
    const resource = { type: RESOURCES[c.type], name: c.name, configNames: c.keys }
    const { resources: [found] } = await (await admin(c)).describeConfigs({ resources: [resource], includeSynonyms: false })
    return Object.fromEntries(found.configEntries.map(e => [e.configName, [e.configValue, e.configSource, e.readOnly, e.isSensitive]]))
  },
  alter_config: async c => { // what is not named goes back to its default: kafkajs knows no other request
    const configEntries = Object.entries(c.set ?? {}).map(([name, value]) => ({ name, value }))
    const resource = { type: RESOURCES[c.type], name: c.name, configEntries }
    return { [c.name]: await code((await admin(c)).alterConfigs({ validateOnly: false, resources: [resource] })) }
  },
  list_offsets: async c => {
    if (c.at === 'max_timestamp') return UNSUPPORTED
    const from = { earliest: 'beginning', latest: 'end' }[c.at] ?? { timestamp: c.at }
    return { offset: await position({ ...c, from }) }
  },
  delete_records: async c => ({
    [c.topic]: await code((await admin(c)).deleteTopicRecords({
      topic: c.topic, partitions: [{ partition: c.partition ?? 0, offset: `${c.before}` }]
    }))
  }),
  describe_cluster: async c => {
    const found = await (await admin(c)).describeCluster()
    return { nodes: found.brokers.map(b => b.nodeId), controller: found.controller }
  },

  list_groups: async c => {
    const { groups: found } = await (await admin(c)).listGroups()
    return Object.fromEntries(found.map(one => [one.groupId, one.protocolType]))
  },
  describe_group: async c => {
    const { groups: [found] } = await (await admin(c)).describeGroups([c.group])
    if (found.errorCode) throw found
    const owned = m => Object.entries(m.memberAssignment.length ? AssignerProtocol.MemberAssignment.decode(m.memberAssignment).assignment : {})
    return {
      state: found.state, type: found.protocolType, assignor: found.protocol, members: found.members.map(m => JSON.stringify(owned(m))).sort()
    }
  },
  delete_groups: async c => ({ [c.groups[0]]: await code((await admin(c)).deleteGroups(c.groups)) }),
  committed: async c => {
    const found = await (await admin(c)).fetchOffsets({ groupId: c.group })
    const rows = found.flatMap(({ topic, partitions }) => partitions.map(p => [`${topic}-${p.partition}`, Number(p.offset)]))
    return Object.fromEntries(rows)
  },
  alter_committed: async c => ({
    [c.topic]: await code((await admin(c)).setOffsets({
      groupId: c.group, topic: c.topic, partitions: [{ partition: c.partition ?? 0, offset: `${c.offset}` }]
    }))
  })
}

await serve(ops)
