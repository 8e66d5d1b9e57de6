"""Reading whole topics in tests."""


def records_of(store, topic):
    """Every record of every partition, by partition number."""
    found = {}
    for index in store.topics()[topic].partitions:
        partition = store.partition(topic, index)
        partition.refresh()
        offset, records = partition.log_start_offset, []
        while offset < partition.high_watermark:
            batches = partition.read(offset)
            records.extend(batches)
            offset = batches.next_offset
        found[index] = records
    return found


def values_of(store, topic):
    """The values of every partition, by partition number."""
    return {index: [record.value for record in records] for index, records in records_of(store, topic).items()}
