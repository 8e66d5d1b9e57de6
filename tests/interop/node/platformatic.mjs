// @platformatic/kafka as one of the judges. It cannot read a partition without a group either: a reader is the only member
// of a group of its own, and reads from offsets that it names.

import { code, load, refused, serve, Shelf, text, UNSUPPORTED } from './judge.mjs'

const { Admin, Consumer, Producer, ListOffsetTimestamps, cooperativeStickyAssigner } = load('@platformatic/kafka')
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const RESOURCES = { topic: 2, broker: 4 }
const RETRY = { retries: 150, retryDelay: 200, metadataMaxAge: 100 }

const producers = {}
const readers = {}
const members = {}
let theAdmin
let groups = 0

const base = c => ({ clientId: 'judge', bootstrapBrokers: [c.bootstrap], ...RETRY })
const admin = c => (theAdmin ??= new Admin({ ...base(c), retries: 3 }))
const bytes = word => (word === null ? undefined : Buffer.from(word))

async function produce (c) {
  const producer = producers[c.id] ?? new Producer(base(c))
  if (c.id) producers[c.id] = producer
  try {
    const messages = c.records.map(r => ({
      topic: c.topic, partition: c.partition ?? 0, key: bytes(r.key), value: bytes(r.value), timestamp: BigInt(r.timestamp),
      headers: new Map(r.headers.map(([name, value]) => [Buffer.from(name), bytes(value)]))
    }))
    const way = { acks: c.acks ?? -1, compression: CODECS.find(one => one === c.codec) ?? 'none', idempotent: c.idempotent === true }
    const told = await producer.send({ messages, ...way })
    return { offsets: (told.offsets ?? []).map(one => one.offset) }
  } finally {
    if (!c.id) await producer.close()
  }
}

async function listed (c, timestamp) {
  const partitions = [{ partitionIndex: c.partition ?? 0, timestamp: BigInt(timestamp) }]
  const [topic] = await admin(c).listOffsets({ topics: [{ name: c.topic, partitions }] })
  return topic.partitions[0]
}

async function position (c) {
  if (Number.isInteger(c.from)) return BigInt(c.from)
  if (c.from === 'stored') {
    const [group] = await admin(c).listConsumerGroupOffsets({ groups: [c.group] })
    const topic = group.topics.find(one => one.name === c.topic)
    return topic.partitions.find(one => one.partitionIndex === (c.partition ?? 0)).committedOffset
  }
  const at = { beginning: ListOffsetTimestamps.EARLIEST, end: ListOffsetTimestamps.LATEST }[c.from] ?? c.from.timestamp
  const found = (await listed(c, at)).offset
  return found === -1n ? (await listed(c, ListOffsetTimestamps.LATEST)).offset : found
}

const consumer = (c, groupId, more) => new Consumer({
  ...base(c), groupId, autocommit: false, minBytes: 1, maxWaitTime: 100, isolationLevel: 0, ...more
})
const classic = { sessionTimeout: 10_000, rebalanceTimeout: 10_000, heartbeatInterval: 200 }

const seen = m => ({
  partition: m.partition, offset: m.offset, timestamp: m.timestamp, key: text(m.key), value: text(m.value), epoch: m.leaderEpoch,
  headers: m.headerEntries.map(([name, value]) => [text(name), text(value)])
})

async function seek (c) {
  const at = await position(c)
  const reader = consumer(c, `reader-${process.pid}-${groups++}`, classic)
  const { topics } = await reader.metadata({ topics: [c.topic] })
  const offsets = topics.get(c.topic).partitions.map((_, partition) => (
    { topic: c.topic, partition, offset: partition === (c.partition ?? 0) ? at : 0n }))
  const stream = await reader.consume({ topics: [c.topic], mode: 'manual', offsets, fallbackMode: c.reset ?? 'earliest' })
  const shelf = new Shelf()
  stream.on('data', m => { if (m.partition === (c.partition ?? 0)) shelf.records.push(seen(m)) })
  stream.on('error', error => { shelf.failure = error })
  readers[c.id] = { reader, stream, shelf }
  return { position: at }
}

async function leave (reader, stream) {
  await stream.close().catch(() => {}) // one that has failed is closed
  await reader.close(true)
}

async function close (c) {
  await producers[c.id]?.close()
  if (readers[c.id]) await leave(readers[c.id].reader, readers[c.id].stream)
  delete producers[c.id]
  delete readers[c.id]
}

async function join (c) {
  const way = c.protocol === 'consumer'
    ? { groupProtocol: 'consumer', groupRemoteAssignor: c.assignor }
    : { ...classic, groupInstanceId: c.instance }
  if (c.assignor === 'cooperative-sticky') {
    Object.assign(way, { protocols: [{ name: c.assignor, version: 1 }], partitionAssigner: cooperativeStickyAssigner })
  }
  const me = consumer(c, c.group, Object.fromEntries(Object.entries(way).filter(([, value]) => value !== undefined)))
  const member = (members[c.id] = { me, read: [], positions: new Map(), failure: null })
  // consume() ends when the group has been joined, and that may wait for others that are asked only after this one.
  member.started = me.consume({ topics: c.topics, mode: 'committed', fallbackMode: 'earliest' }).then(stream => {
    member.stream = stream
    stream.on('data', ({ topic, partition, offset, value, leaderEpoch }) => {
      member.read.push([partition, offset, text(value)])
      member.positions.set(`${topic}-${partition}`, { topic, partition, offset: offset + 1n, leaderEpoch })
    })
    stream.on('error', error => { member.failure = error })
  }).catch(error => { member.failure = error })
}

const owned = ({ me }) => (me.assignments ?? []).flatMap(one => one.partitions.map(n => `${one.topic}-${n}`)).sort()

function tell ({ id }) {
  const { read, failure } = members[id]
  return { assignment: owned(members[id]), read, ...(failure ? refused(failure) : {}) }
}

const ops = {
  produce,
  seek,
  poll: async c => ({ records: await readers[c.id].shelf.take(c.count, c.wait_ms) }),
  close,
  join,
  member: tell,
  commit: async ({ id }) => {
    const { positions } = members[id] // a stream goes on where it was in the partitions that its member kept
    const offsets = owned(members[id]).filter(name => positions.has(name)).map(name => positions.get(name))
    if (offsets.length) await members[id].me.commit({ offsets })
  },
  leave: async ({ id }) => {
    await members[id].started
    if (members[id].stream) await leave(members[id].me, members[id].stream)
    else await members[id].me.close(true)
    delete members[id]
  },

  create_topics: async c => {
    if (c.validate) return UNSUPPORTED
    const answer = {}
    for (const { name, partitions, replicas, config } of c.topics) {
      const configs = Object.entries(config ?? {}).map(([key, value]) => ({ name: key, value }))
      answer[name] = await code(admin(c).createTopics({ topics: [name], partitions, replicas, configs }))
    }
    return answer
  },
  delete_topics: async c => ({ [c.names[0]]: await code(admin(c).deleteTopics({ topics: c.names })) }),
  create_partitions: async c => ({
    [c.name]: await code(admin(c).createPartitions({ topics: [{ name: c.name, count: c.count }] }))
  }),
  list_topics: async c => ({ names: await admin(c).listTopics({ includeInternals: true }) }),
  describe_topic: async c => {
    const { topics } = await admin(c).metadata({ topics: [c.name], forceUpdate: true, retries: 0 })
    const partitions = topics.get(c.name).partitions.map(({ leader, replicas, isr }, partition) => ({ partition, leader, replicas, isr }))
    return { partitions }
  },
  describe_config: async c => {
    const resource = { resourceType: RESOURCES[c.type], resourceName: c.name, configurationKeys: c.keys }
    const [found] = await admin(c).describeConfigs({ resources: [resource], includeSynonyms: false })
    return Object.fromEntries(found.configs.map(e => [e.name, [e.value, e.configSource, e.readOnly, e.isSensitive, e.configType]]))
  },
  alter_config: async c => {
    const configs = [
      ...Object.entries(c.set ?? {}).map(([name, value]) => ({ name, value, configOperation: 0 })),
      ...(c.unset ?? []).map(name => ({ name, configOperation: 1 }))
    ]
    const resource = { resourceType: RESOURCES[c.type], resourceName: c.name, configs }
    return { [c.name]: await code(admin(c).incrementalAlterConfigs({ resources: [resource] })) }
  },
  list_offsets: async c => {
    const names = { earliest: 'EARLIEST', latest: 'LATEST', max_timestamp: 'MAX' }
    const { offset, timestamp, leaderEpoch } = await listed(c, ListOffsetTimestamps[names[c.at]] ?? c.at)
    return { offset, timestamp, epoch: leaderEpoch }
  },
  delete_records: async c => {
    const partitions = [{ partition: c.partition ?? 0, offset: BigInt(c.before) }]
    const [topic] = await admin(c).deleteRecords({ topics: [{ name: c.topic, partitions }] })
    return { low: topic.partitions[0].lowWatermark }
  },
  describe_cluster: async c => {
    const found = await admin(c).metadata({ topics: [], forceUpdate: true })
    return { nodes: [...found.brokers.keys()], controller: found.controllerId }
  },

  list_groups: async c => Object.fromEntries(
    [...(await admin(c).listGroups({ types: ['classic', 'consumer'] })).values()].map(one => [one.id, `${one.state} ${one.groupType} ${one.protocolType}`])),
  describe_group: async c => {
    const found = (await admin(c).describeGroups({ groups: [c.group] })).get(c.group)
    const listed = (await admin(c).listGroups({ types: ['classic', 'consumer'] })).get(c.group)
    if (listed?.groupType?.toLowerCase() === 'consumer') return { state: listed.state, type: listed.groupType } // it has no request for those
    const share = m => JSON.stringify([...(m.assignments?.values() ?? [])])
    return {
      state: found.state, type: found.protocolType, assignor: found.protocol, members: [...found.members.values()].map(share).sort()
    }
  },
  delete_groups: async c => ({ [c.groups[0]]: await code(admin(c).deleteGroups({ groups: c.groups })) }),
  committed: async c => {
    const [group] = await admin(c).listConsumerGroupOffsets({ groups: [c.group] })
    const rows = group.topics.flatMap(t => t.partitions.map(p => [`${t.name}-${p.partitionIndex}`, p.committedOffset]))
    return Object.fromEntries(rows)
  },
  alter_committed: async c => {
    const partitionOffsets = [{ partition: c.partition ?? 0, offset: BigInt(c.offset) }]
    const wanted = { groupId: c.group, topics: [{ name: c.topic, partitionOffsets }] }
    return { [c.topic]: await code(admin(c).alterConsumerGroupOffsets(wanted)) }
  },
  delete_committed: async c => {
    const wanted = { groupId: c.group, topics: [{ name: c.topic, partitionIndexes: [c.partition ?? 0] }] }
    return { [c.topic]: await code(admin(c).deleteConsumerGroupOffsets(wanted)) }
  }
}

await serve(ops)
