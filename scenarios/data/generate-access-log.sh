#!/bin/sh
# Writes the small access log the replay scenario uses by default: 900 made-up requests over about ten minutes, in
# combined format, the same every time. Usage: generate-access-log.sh > access.log
exec awk 'BEGIN {
  seed = 20150517
  split("/ /index.html /blog/ /blog/tags /images/logo.png /css/site.css /js/app.js /downloads/tool.tar.gz /feed.xml /about", path, " ")
  split("200 200 200 200 200 200 200 304 301 404", status, " ")
  second = 0
  for (i = 0; i < 900; i++) {
    seed = (seed * 16807) % 2147483647
    second += (seed % 3 == 0) ? 2 : (seed % 2)
    p = path[1 + int(seed / 7) % 10]; s = status[1 + int(seed / 131) % 10]
    printf "198.51.100.%d - - [17/May/2025:10:%02d:%02d +0000] \"%s %s HTTP/1.1\" %s %d \"-\" \"Mozilla/5.0 (generated)\"\n", \
      1 + seed % 200, int(second / 60), second % 60, (seed % 50 == 0) ? "HEAD" : "GET", p, s, seed % 20000
  }
}'
