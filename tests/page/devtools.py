# SPDX-License-Identifier: Apache-2.0
"""Talks to Chromium over a pipe: messages of the DevTools protocol, each ended by a zero byte."""
import json
import os
import select
import subprocess
import time


class Browser:
    """One headless Chromium with one tab. Keeps what the console said and what was asked for."""

    def __init__(self, program, profile, limit_s=60):
        self._limit_s = limit_s
        self._next = 0
        self._session = None
        self._rest = b""
        self.messages = []
        self.requests = []
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4. The shell dup()s them into place.
        command = (f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}')
        self._process = subprocess.Popen(
            ["bash", "-c", command, program, "--headless=new", "--no-sandbox", "--disable-gpu",
             "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run",
             "--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars",
             "about:blank"],
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(theirs_in)
        os.close(theirs_out)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target,
                                  flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _hear(self):
        """The next message, or an error when the limit is over."""
        until = time.monotonic() + self._limit_s
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(until - time.monotonic(), 0))
            piece = os.read(self._in, 1 << 20) if ready else b""
            if not piece:
                raise RuntimeError("chromium does not answer")
            self._rest += piece
        text, self._rest = self._rest.split(b"\0", 1)
        return json.loads(text)

    def _keep(self, message):
        method, body = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.messages.append(str(body.get("args")))
        elif method == "Runtime.exceptionThrown":
            self.messages.append(str(body.get("exceptionDetails", {}).get("text")))
        elif method == "Log.entryAdded":
            self.messages.append(body["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(body["request"]["url"])

    def call(self, method, **parameters):
        self._next += 1
        message = {"id": self._next, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        text = json.dumps(message).encode() + b"\0"
        while text:
            text = text[os.write(self._out, text):]
        while True:
            answer = self._hear()
            if answer.get("id") == self._next:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._keep(answer)

    def open(self, url):
        self.messages, self.requests = [], []
        self.call("Page.navigate", url=url)
        until = time.monotonic() + self._limit_s
        while self.evaluate("document.readyState") != "complete" or \
                self.evaluate("location.href") != url:
            if time.monotonic() > until:
                raise RuntimeError(f"{url} does not load")
            time.sleep(0.02)

    def show(self, width, scheme, media=""):
        """Sets the window's width, what the reader prefers, and "print" or nothing."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", media=media,
                  features=[{"name": "prefers-color-scheme", "value": scheme}])

    def evaluate(self, script):
        """The value of a script."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"])[:500])
        return answer["result"].get("value")

    def ask(self, function, *given):
        """What a function of the page's language gives, called with a list of what is given."""
        return self.evaluate(f"{function}\n({json.dumps(list(given))})")
