#!/bin/sh
# Makes the bundled clip: examples/media/clip.ivf (VP8) and examples/media/clip.ogg (Opus).
#
# The picture is ffmpeg's test source with a running clock, ten seconds at 25 frames a second with a
# keyframe twelve frames after the last at the latest (0.48 s); a file source answers a keyframe
# request by jumping to the next one. The sound is a synthetic voice that counts to ten.
# Needs ffmpeg with libvpx and libopus, and espeak-ng. Run it from anywhere: ./scripts/make-clip.sh
set -eu

media="$(cd "$(dirname "$0")/.." && pwd)/examples/media"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$media"

ffmpeg -hide_banner -loglevel error -y \
    -f lavfi -i "testsrc2=size=320x180:rate=25:duration=10" \
    -f lavfi -i "mandelbrot=size=120x90:rate=25:end_scale=0.05" \
    -filter_complex "[1:v]format=yuv420p[m];[0:v][m]overlay=x=190:y=80:shortest=1,\
drawtext=text='framelock %{pts\:hms}':x=10:y=150:fontsize=18:fontcolor=white:box=1:boxcolor=black@0.6" \
    -frames:v 250 -c:v libvpx -b:v 350k -minrate 200k -maxrate 500k -bufsize 500k \
    -g 12 -keyint_min 12 -auto-alt-ref 0 -error-resilient 1 -deadline good -cpu-used 1 -threads 1 \
    -fflags +bitexact -flags:v +bitexact "$media/clip.ivf"

espeak-ng -v en -s 120 -w "$work/voice.wav" \
    "This is a test call. One. Two. Three. Four. Five. Six. Seven. Eight. Nine. Ten."

ffmpeg -hide_banner -loglevel error -y -i "$work/voice.wav" \
    -af "apad=whole_dur=10,atrim=0:10,aresample=48000" -ac 1 \
    -c:a libopus -b:a 24k -vbr on -frame_duration 20 -application voip \
    -fflags +bitexact -flags:a +bitexact -page_duration 20000 "$media/clip.ogg"

ls -l "$media"
