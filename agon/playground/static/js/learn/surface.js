// The discriminator's map as a surface in space: what it takes for real lies high. three.js is loaded only when this is asked for.

import * as THREE from "../../vendor/three/three.module.min.js";
import { el } from "../core/dom.js";
import { rgb, shownTheme } from "../core/theme.js";
import { shades } from "./paint.js";

const HEIGHT = 0.55; // of the map's width
const TURN = 0.08; // radians a key press

/** {node, draw(stage, {heat, fake, real}), destroy()}. Throws where there is no WebGL. */
export class Surface {
  constructor(label) {
    this.node = el("canvas", { class: "surface", tabindex: "0", role: "img", "aria-label": label, testid: "surface-canvas" });
    this.renderer = new THREE.WebGLRenderer({ canvas: this.node, antialias: true, alpha: true });
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(38, 1, 0.1, 20);
    Object.assign(this, { turn: -0.6, tilt: 0.75, distance: 2.05, side: 0 });
    this.real = this.cloud("--real", false);
    this.fake = this.cloud("--fake", true);
    this.listen();
  }

  listen() {
    this.node.addEventListener("pointerdown", (event) => {
      this.node.setPointerCapture(event.pointerId);
      this.held = [event.clientX, event.clientY];
    });
    this.node.addEventListener("pointermove", (event) => {
      if (!this.held) return;
      this.look((event.clientX - this.held[0]) * 0.008, (event.clientY - this.held[1]) * 0.006);
      this.held = [event.clientX, event.clientY];
    });
    for (const name of ["pointerup", "pointercancel"]) this.node.addEventListener(name, () => (this.held = null));
    this.node.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const act = {
      ArrowLeft: () => this.look(-TURN, 0),
      ArrowRight: () => this.look(TURN, 0),
      ArrowUp: () => this.look(0, -TURN),
      ArrowDown: () => this.look(0, TURN),
      "+": () => this.near(0.9),
      "=": () => this.near(0.9),
      "-": () => this.near(1.1),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  look(turn, tilt) {
    this.turn += turn;
    this.tilt = Math.max(0.05, Math.min(1.5, this.tilt + tilt));
    this.render();
  }

  near(by) {
    this.distance = Math.max(1.2, Math.min(5, this.distance * by));
    this.render();
  }

  /** The grid of the map, made once for each number of cells. */
  grid(side) {
    if (side === this.side) return;
    this.side = side;
    if (this.mesh) {
      this.scene.remove(this.mesh, this.wires);
      this.mesh.geometry.dispose();
      this.wires.geometry.dispose();
    }
    const geometry = new THREE.PlaneGeometry(1, 1, side - 1, side - 1);
    geometry.setAttribute("color", new THREE.BufferAttribute(new Float32Array(side * side * 3), 3));
    this.mesh = new THREE.Mesh(
      geometry,
      new THREE.MeshBasicMaterial({ vertexColors: true, side: THREE.DoubleSide, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 }),
    );
    this.wires = new THREE.LineSegments(this.lines(side, geometry), new THREE.LineBasicMaterial({ transparent: true, opacity: 0.22 }));
    this.scene.add(this.mesh, this.wires);
  }

  // Every fourth line of the grid; it shares the surface's corners.
  lines(side, geometry) {
    const index = [];
    for (let a = 0; a < side; a += 4) {
      for (let b = 0; b < side - 1; b += 1) index.push(a * side + b, a * side + b + 1, b * side + a, (b + 1) * side + a);
    }
    const lines = new THREE.BufferGeometry();
    lines.setAttribute("position", geometry.getAttribute("position"));
    lines.setIndex(index);
    return lines;
  }

  draw({ bounds }, { heat, fake, real }) {
    if (!heat) return;
    const side = Math.sqrt(heat.length);
    this.grid(side);
    const position = this.mesh.geometry.getAttribute("position");
    const colours = this.mesh.geometry.getAttribute("color");
    const table = shades();
    for (let row = 0; row < side; row += 1) {
      for (let column = 0; column < side; column += 1) {
        const value = heat[row * side + column];
        const at = (side - 1 - row) * side + column; // the plane's first row lies uppermost
        position.setZ(at, (value - 0.5) * HEIGHT);
        const shade = 3 * Math.max(0, Math.min(255, Math.round(value * 255)));
        colours.setXYZ(at, linear(table[shade]), linear(table[shade + 1]), linear(table[shade + 2]));
      }
    }
    position.needsUpdate = colours.needsUpdate = true;
    this.place(this.real, real, bounds, heat, side);
    this.place(this.fake, fake, bounds, heat, side);
    this.render();
  }

  cloud(name, pointed) {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(3 * 1024), 3));
    const material = new THREE.PointsMaterial({ size: pointed ? 9 : 6, sizeAttenuation: false, map: stamp(pointed), transparent: true, alphaTest: 0.5 });
    const cloud = new THREE.Points(geometry, material);
    cloud.userData.name = name;
    cloud.frustumCulled = false;
    this.scene.add(cloud);
    return cloud;
  }

  /** Puts points on the surface, a little above it. */
  place(cloud, points, [left, bottom, right, top], heat, side) {
    cloud.visible = Boolean(points);
    if (!points) return;
    const position = cloud.geometry.getAttribute("position");
    let count = 0;
    for (let i = 0; i < points.length && count < 1024; i += 2) {
      const [x, y] = [(points[i] - left) / (right - left), (points[i + 1] - bottom) / (top - bottom)];
      if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1)) continue;
      position.setXYZ(count, x - 0.5, y - 0.5, (between(heat, side, x, y) - 0.5) * HEIGHT + 0.012);
      count += 1;
    }
    cloud.geometry.setDrawRange(0, count);
    position.needsUpdate = true;
  }

  render() {
    const parent = this.node.parentNode;
    if (!parent || !this.mesh) return;
    const size = parent.clientWidth;
    if (size !== this.size) {
      this.size = size;
      this.renderer.setPixelRatio(Math.min(2, devicePixelRatio || 1));
      this.renderer.setSize(size, size, false);
    }
    if (this.theme !== shownTheme()) this.paint();
    const flat = this.distance * Math.cos(this.tilt);
    this.camera.position.set(flat * Math.sin(this.turn), -flat * Math.cos(this.turn), this.distance * Math.sin(this.tilt));
    this.camera.up.set(0, 0, 1);
    this.camera.lookAt(0, 0, -0.05);
    this.renderer.render(this.scene, this.camera);
  }

  paint() {
    this.theme = shownTheme();
    for (const cloud of [this.real, this.fake]) cloud.material.color.setRGB(...rgb(cloud.userData.name).map((value) => value / 255), THREE.SRGBColorSpace);
    this.wires.material.color.setRGB(...rgb("--ink").map((value) => value / 255), THREE.SRGBColorSpace);
  }

  destroy() {
    for (const one of [this.mesh, this.wires, this.real, this.fake]) {
      one?.geometry.dispose();
      one?.material.map?.dispose();
      one?.material.dispose();
    }
    this.renderer.dispose();
    this.renderer.forceContextLoss(); // browsers keep few of them
    this.node.remove();
  }
}

function linear(value) {
  const part = value / 255;
  return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
}

/** The map's value between its corners; x and y from 0 to 1. */
function between(heat, side, x, y) {
  const [column, row] = [Math.min(side - 2, Math.floor(x * (side - 1))), Math.min(side - 2, Math.floor(y * (side - 1)))];
  const [u, v] = [x * (side - 1) - column, y * (side - 1) - row];
  const at = row * side + column;
  return (1 - v) * ((1 - u) * heat[at] + u * heat[at + 1]) + v * ((1 - u) * heat[at + side] + u * heat[at + side + 1]);
}

/** A disc or a triangle in white, which the material colours. */
function stamp(pointed) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 32;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.beginPath();
  if (pointed) {
    context.moveTo(16, 2);
    context.lineTo(30, 28);
    context.lineTo(2, 28);
  } else {
    context.arc(16, 16, 14, 0, 2 * Math.PI);
  }
  context.fill();
  return new THREE.CanvasTexture(canvas);
}
