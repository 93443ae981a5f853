"""Command a server by MQTT (its config has mqtt.url): python examples/mqtt.py 127.0.0.1 1883"""

import asyncio
import json
import sys

import aiomqtt

HOST = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 1883


async def main() -> None:
    async with aiomqtt.Client(HOST, PORT) as client:
        await client.subscribe([("puppetcast/availability", 1), ("puppetcast/live/cmd/smoothing/result", 1)])
        async for message in client.messages:
            if message.payload == b"online":  # kept by the broker, or told as soon as the server is there
                await client.publish("puppetcast/live/cmd/smoothing", "0.8", qos=1)
            elif str(message.topic).endswith("result"):
                print("smoothing is", json.loads(message.payload)["state"]["puppet"]["smoothing"])
                return


asyncio.run(main())
