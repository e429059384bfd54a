// Publishes with mqtt.js: one payload at QoS 0, 1 and 2 each, over one connection.
//
// PORT 3|5 tcp|tls|ws CA|- USER TOPIC PAYLOAD PAYLOAD PAYLOAD; ends with 0 once all is acknowledged.
const fs = require("node:fs");
const mqtt = require("mqtt");

const [port, version, transport, authority, username, topic, ...payloads] = process.argv.slice(2);

async function main() {
  const scheme = { tcp: "mqtt", tls: "mqtts", ws: "ws" }[transport];
  const client = await mqtt.connectAsync(`${scheme}://localhost:${port}/mqtt`, {
    protocolVersion: version === "5" ? 5 : 4,
    clientId: `mqttjs-${version}-${transport}`,
    username,
    ca: transport === "tls" ? fs.readFileSync(authority) : undefined,
    connectTimeout: 15000,
  });
  for (const [qos, payload] of payloads.entries()) {
    await client.publishAsync(topic, payload, { qos });
  }
  await client.endAsync();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
