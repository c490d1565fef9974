#!/bin/sh
#
# fakehelper.sh: replaces libvirt_tpmhelper, and ends as FAKE_HELPER says
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   exit CODE     with this exit code
#   signal NAME   by this signal
#   stop          not at all
#   leave         by a signal, with a process left that goes on
#   print TEXT    well, having printed this text; "long": more than a helper may print

word=${FAKE_HELPER%% *}
rest=${FAKE_HELPER#* }

printf '\nlibvirt_tpmhelper: something\n' >&2

case $word in
    exit) exit "$rest" ;;
    signal) kill -s "$rest" $$ ;;
    stop) kill -s STOP $$ ;;
    leave)
        sleep 1000 &
        kill -s SEGV $$
        ;;
    print)
        [ "$rest" = long ] && rest="<tpm version='2.0'>$(head -c 70000 /dev/zero | tr '\0' ' ')</tpm>"
        printf '%s' "$rest"
        ;;
esac
