#!/usr/bin/env python3
#
# fakeswtpm.py: replaces swtpm; its answers are given by a test
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# FAKE_CONTROL and FAKE_DATA are its answers on either channel, one for each
# command, separated by blanks:
#
#   HEX      these bytes
#   HEX!     these bytes, and then it exits
#   HEX~     these bytes, and then it ignores all commands
#   HEX-     these bytes, and then it closes both channels, and does not end
#   hang     nothing
#   CMD:HEX  these bytes, for command CMD of the control channel
#
# After the last one it does what it is told on the control channel, though it
# tells no state or profile, and nothing on the data channel.
#
# FAKE_CUT:    each TPM2_Startup begins FAKE_DATA anew; first all is cut to one
#              byte, then to two, and so on
# FAKE_RANDOM: responses are random bytes behind a header that says success
# FAKE_LOG:    what it says on stderr, last of all
# FAKE_OPENS:  CMD_INIT opens the state as swtpm's next version does, which follows no
#              link, and makes its first byte an S
# FAKE_RECORD: a file that gets what comes on the control channel, in hex

import os
import select
import signal
import socket
import struct
import sys
import time

INIT = 2
GET_STATEBLOB = 12
SET_STATEBLOB = 13
GET_INFO = 18
STARTUP = 0x144
DONE = "00000000"
FAILED = "00000101"
TPM_RC_HANDLE = struct.pack(">HLL", 0x8001, 10, 0x18b)


class Fake:
    def __init__(self, args):
        control = args[args.index("--ctrl") + 1].split("clientfd=")[1]
        self.control = socket.socket(fileno=int(control))
        self.data = socket.socket(fileno=int(args[args.index("--fd") + 1]))
        self.words = os.environ.get("FAKE_CONTROL", "").split()
        self.responses = os.environ.get("FAKE_DATA", "").split()
        self.round = 0
        self.next = 0
        self.seed = 20

    def say(self, channel, word):
        channel.sendall(bytes.fromhex(word.rstrip("!~-")))
        if word.endswith("!"):
            sys.exit(1)
        if word.endswith("-"):
            self.control.close()
            self.data.close()
        if word.endswith(("~", "-")):
            signal.pause()

    def read_control(self):
        command = self.control.recv(16)
        if not command:
            sys.exit(0)
        number = struct.unpack(">L", command[:4])[0]
        if number == SET_STATEBLOB:
            left = struct.unpack(">L", command[12:16])[0]
            while left:
                part = self.control.recv(left)
                left -= len(part)
                command += part
        if number == GET_INFO:
            command += self.control.recv(4)
        if "FAKE_RECORD" in os.environ:
            with open(os.environ["FAKE_RECORD"], "a", encoding="ascii") as record:
                record.write(command.hex() + "\n")
        return number

    def take_word(self, number):
        for word in self.words:
            if ":" not in word or word.startswith(f"{number}:"):
                self.words.remove(word)
                return word.split(":")[-1]
        return FAILED if number in (GET_STATEBLOB, GET_INFO) else DONE

    def open_state(self):
        uri = sys.argv[sys.argv.index("--tpmstate") + 1]
        state = os.open(uri.split("file://")[1], os.O_RDWR | os.O_NOFOLLOW)
        os.pwrite(state, b"S", 0)

    def do_control(self):
        number = self.read_control()
        if number == INIT and "FAKE_OPENS" in os.environ:
            self.open_state()
        word = self.take_word(number)
        if word != "hang":
            self.say(self.control, word)

    # the module of that name takes long to be loaded
    def random(self):
        self.seed = (self.seed * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.seed >> 32

    def garbage(self):
        garbage = struct.pack(">HLL", 0x8001, 0, 0)
        for _ in range(self.random() % 1000):
            garbage += struct.pack(">L", self.random())
        return garbage

    def do_data(self):
        command = self.data.recv(4096)
        if not command:
            sys.exit(0)
        cut = "FAKE_CUT" in os.environ
        if cut and struct.unpack(">L", command[6:10])[0] == STARTUP:
            self.round += 1
            self.next = 0
        if "FAKE_RANDOM" in os.environ:
            self.data.sendall(self.garbage())
            return
        if self.next == len(self.responses):
            self.data.sendall(TPM_RC_HANDLE)
            return
        word = self.responses[self.next]
        self.next += 1
        if cut:
            self.data.sendall(bytes.fromhex(word)[:self.round])
        elif word != "hang":
            self.say(self.data, word)

    def run(self):
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.data, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.control.fileno():
                    self.do_control()
                else:
                    self.do_data()


if __name__ == "__main__":
    try:
        Fake(sys.argv).run()
    except ConnectionResetError:
        pass
    finally:
        time.sleep(0.05)
        sys.stderr.write(os.environ.get("FAKE_LOG", ""))
