"""Publishes with paho-mqtt: one payload at QoS 0, 1 and 2 each, over one connection.

PORT 3|5 tcp|tls|ws CA|- USER TOPIC PAYLOAD PAYLOAD PAYLOAD; ends with 0 once all is acknowledged.
"""

import sys

import paho.mqtt.client as mqtt

port, version, transport, authority, user, topic, *payloads = sys.argv[1:]
protocol = {"3": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version]
client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    client_id=f"paho-{version}-{transport}",
    protocol=protocol,
    transport="websockets" if transport == "ws" else "tcp",
)
client.username_pw_set(user)
if transport == "tls":
    client.tls_set(ca_certs=authority)
client.connect("localhost", int(port), keepalive=30)
client.loop_start()
for qos, payload in enumerate(payloads):
    published = client.publish(topic, payload, qos=qos)
    published.wait_for_publish(timeout=15)
    if not published.is_published():
        sys.exit(f"QoS {qos}: not acknowledged")
client.disconnect()
client.loop_stop()
