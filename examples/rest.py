"""Command a running server by REST: python examples/rest.py http://127.0.0.1:8080"""

import sys

import httpx

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"

with httpx.Client(base_url=URL, timeout=10) as http:
    for portrait in http.get("/api/portraits").json():
        print("portrait", portrait["id"])
    change = {"portrait": "drawing", "pose_gain": 1.2, "demo": True}
    answer = http.patch("/api/streams/live", json=change)
    if answer.is_error:
        sys.exit(answer.json()["detail"])
    state = answer.json()
    print(f"{state['portrait']} at {state['puppet']['pose_gain']}")
    refused = http.patch("/api/streams/live", json={"pose_gain": 99})
    print(refused.status_code, refused.json()["detail"])
    with open("snapshot.jpg", "wb") as file:
        file.write(http.get("/live/live/snapshot.jpg").content)
