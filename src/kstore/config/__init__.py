"""Configuration: Kafka's keys, Kafka's defaults, Kafka's validation, as classes.

Owns the public names; the tables stand in `directory` (topics, a log directory) and `broker`, how they are read in
`keys`. Called by everyone above who is configured.
"""

from kstore.config.broker import BrokerConfig as BrokerConfig
from kstore.config.directory import BROKER_SYNONYMS as BROKER_SYNONYMS
from kstore.config.directory import CODECS as CODECS
from kstore.config.directory import StoreConfig as StoreConfig
from kstore.config.directory import TopicConfig as TopicConfig
from kstore.config.keys import HIDDEN as HIDDEN
from kstore.config.keys import Value as Value
from kstore.config.keys import render as render
from kstore.config.listeners import ListenerConfig as ListenerConfig
from kstore.config.security import SecurityConfig as SecurityConfig
