//! Points on the earth as scores of a sorted set: 52 bits, those of longitude and latitude by turns; and
//! areas to look for points in. Numbers are computed step by step as Redis computes them, so that every
//! printed digit is the same. It knows no sorted sets.

use std::ops::Range;

/// In degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

const LONGITUDE_MAX: f64 = 180.0;
/// Web maps end there (EPSG:3857); further to the poles there are no points.
const LATITUDE_MAX: f64 = 85.05112878;
/// Bits of a score for each of the two.
const STEPS: u32 = 26;
/// Meters: the quadratic mean of the earth's radius in WGS-84.
const EARTH_RADIUS: f64 = 6372797.560856;
/// Half of the equator in meters, as web maps have it.
const MERCATOR_MAX: f64 = 20037726.37;
const RADIANS: f64 = std::f64::consts::PI / 180.0;

impl Point {
    /// Whether a point can be here.
    pub fn is_valid(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// The score of a valid point.
    pub fn score(self) -> f64 {
        Cell::around(self, STEPS, LATITUDE_MAX).bits as f64
    }

    /// The middle of the smallest cell that has this score; any number is one.
    pub fn of_score(score: f64) -> Point {
        let area = Cell { bits: score_bits(score), steps: STEPS }.bounds();
        let middle = |low: f64, high: f64, max: f64| ((low + high) / 2.0).clamp(-max, max);
        Point {
            longitude: middle(area.west, area.east, LONGITUDE_MAX),
            latitude: middle(area.south, area.north, LATITUDE_MAX),
        }
    }

    /// Meters between two points, on a sphere (haversine).
    pub fn distance(self, other: Point) -> f64 {
        let half = ((other.longitude * RADIANS - self.longitude * RADIANS) / 2.0).sin();
        if half == 0.0 {
            return latitude_distance(self.latitude, other.latitude);
        }
        let (from, to) = (self.latitude * RADIANS, other.latitude * RADIANS);
        let across = ((to - from) / 2.0).sin();
        let square = across * across + from.cos() * to.cos() * half * half;
        // Between antipodes rounding may lead beyond 1.
        2.0 * EARTH_RADIUS * square.sqrt().min(1.0).asin()
    }

    /// The geohash of geohash.org, in which latitudes end at the poles. The last of eleven letters has no
    /// bits left and is always 0.
    pub fn geohash(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::around(self, STEPS, 90.0).bits;
        let mut text = [b'0'; 11];
        for (index, letter) in text.iter_mut().take(10).enumerate() {
            *letter = LETTERS[(bits >> (47 - 5 * index)) as usize & 31];
        }
        text
    }
}

fn latitude_distance(from: f64, to: f64) -> f64 {
    EARTH_RADIUS * (to * RADIANS - from * RADIANS).abs()
}

/// A score's bits, as C converts it: what lies beyond is what x86-64 makes of it.
fn score_bits(score: f64) -> u64 {
    const BEYOND: f64 = 18_446_744_073_709_551_616.0;
    match score {
        0.0..BEYOND => score as u64,
        ..0.0 => score as i64 as u64,
        _ => 0,
    }
}

/// A cell of the grid that has 2^steps columns and rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cell {
    bits: u64,
    steps: u32,
}

/// Degrees.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    west: f64,
    south: f64,
    east: f64,
    north: f64,
}

const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = !LATITUDE_BITS;

impl Cell {
    fn around(point: Point, steps: u32, latitude_max: f64) -> Cell {
        let cells = (1u64 << steps) as f64;
        let column = (point.longitude + LONGITUDE_MAX) / (LONGITUDE_MAX + LONGITUDE_MAX) * cells;
        let row = (point.latitude + latitude_max) / (latitude_max + latitude_max) * cells;
        Cell { bits: spread(row as u32) | spread(column as u32) << 1, steps }
    }

    fn bounds(self) -> Bounds {
        let cells = (1u64 << self.steps) as f64;
        let at = |index: u32, max: f64| -max + f64::from(index) / cells * (max + max);
        let (row, column) = (gather(self.bits), gather(self.bits >> 1));
        Bounds {
            west: at(column, LONGITUDE_MAX),
            south: at(row, LATITUDE_MAX),
            east: at(column.wrapping_add(1), LONGITUDE_MAX),
            north: at(row.wrapping_add(1), LATITUDE_MAX),
        }
    }

    /// The cell so many columns to the east and rows to the north (-1, 0 or 1), round the earth.
    fn neighbour(self, east: i64, north: i64) -> Cell {
        let longitude = self.moved(LONGITUDE_BITS, east);
        let latitude = self.moved(LATITUDE_BITS, north);
        Cell { bits: longitude | latitude, ..self }
    }

    /// The bits of one direction, counted up or down; the others are set meanwhile, so that they pass a carry
    /// on.
    fn moved(self, own: u64, by: i64) -> u64 {
        let unused = 64 - self.steps * 2;
        match by {
            0 => self.bits & own,
            1.. => (self.bits | !own).wrapping_add(1) & own & u64::MAX >> unused,
            _ => (self.bits & own).wrapping_sub(own & own.wrapping_neg()) & own & u64::MAX >> unused,
        }
    }

    /// The scores of the points in it.
    fn scores(self) -> Range<f64> {
        let unused = 2 * (STEPS - self.steps);
        let score = |bits: u64| (bits << unused) as f64;
        score(self.bits)..score(self.bits + 1)
    }
}

/// Puts the bits of a number on the even places of a longer one.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in SPREAD {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Takes the bits on even places together.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & LATITUDE_BITS;
    for ((shift, _), (_, mask)) in SPREAD.iter().rev().zip(SPREAD.iter().rev().skip(1)) {
        bits = (bits | bits >> shift) & mask;
    }
    (bits | bits >> 16) as u32
}

const SPREAD: [(u32, u64); 5] = [
    (16, 0x0000_ffff_0000_ffff),
    (8, 0x00ff_00ff_00ff_00ff),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (2, 0x3333_3333_3333_3333),
    (1, LATITUDE_BITS),
];

/// What to look for points in; lengths in meters.
#[derive(Clone, PartialEq, Debug)]
pub enum Shape {
    Circle {
        radius: f64,
    },
    Rectangle {
        width: f64,
        height: f64,
    },
    /// At least three corners, in their order.
    Polygon(Vec<Point>),
}

/// A shape in its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Area {
    pub center: Point,
    shape: Shape,
}

/// The cells to look in: the middle one, then those around it. North, south, east, west, then the corners:
/// their order is that of the points found.
const AROUND: [(i64, i64); 9] =
    [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

impl Area {
    pub fn circle(center: Point, radius: f64) -> Area {
        Area { center, shape: Shape::Circle { radius } }
    }

    pub fn rectangle(center: Point, width: f64, height: f64) -> Area {
        Area { center, shape: Shape::Rectangle { width, height } }
    }

    /// Its center is that of its corners, on the sphere.
    pub fn polygon(corners: Vec<Point>) -> Area {
        let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
        for corner in &corners {
            let (longitude, latitude) = (corner.longitude * RADIANS, corner.latitude * RADIANS);
            x += latitude.cos() * longitude.cos();
            y += latitude.cos() * longitude.sin();
            z += latitude.sin();
        }
        let center =
            Point { longitude: y.atan2(x) / RADIANS, latitude: z.atan2((x * x + y * y).sqrt()) / RADIANS };
        Area { center, shape: Shape::Polygon(corners) }
    }

    /// Meters from the center to a point of the area; `None` if it lies outside.
    pub fn distance_inside(&self, point: Point) -> Option<f64> {
        let inside = match &self.shape {
            Shape::Circle { radius } => {
                let distance = self.center.distance(point);
                return (distance <= *radius).then_some(distance);
            }
            Shape::Rectangle { width, height } => {
                let side = Point { latitude: point.latitude, ..self.center };
                latitude_distance(point.latitude, self.center.latitude) <= height / 2.0
                    && point.distance(side) <= width / 2.0
            }
            Shape::Polygon(corners) => is_inside(corners, point),
        };
        inside.then(|| self.center.distance(point))
    }

    /// Ranges of scores that together hold every point of the area, and others.
    pub fn scores(&self) -> impl Iterator<Item = Range<f64>> {
        let cells = self.cells();
        let mut last = 0;
        let chosen = cells.into_iter().enumerate().filter_map(move |(index, cell)| {
            let cell = cell?;
            // In a coarse grid two neighbours may be the same cell.
            if last > 0 && cells[last] == Some(cell) {
                return None;
            }
            last = index;
            Some(cell)
        });
        chosen.map(Cell::scores)
    }

    /// The cell around the center and its neighbours, in the finest grid where they cover the area; without
    /// those that the area does not reach.
    fn cells(&self) -> [Option<Cell>; 9] {
        let bounds = self.bounds();
        let latitude = self.center.latitude.clamp(-LATITUDE_MAX, LATITUDE_MAX);
        let center = Point { latitude, ..self.center };
        let mut steps = steps_for(self.radius(bounds), self.center.latitude);
        let mut cell = Cell::around(center, steps, LATITUDE_MAX);
        if steps > 1 && !covers_with_neighbours(cell, bounds) {
            steps -= 1;
            cell = Cell::around(center, steps, LATITUDE_MAX);
        }
        let own = cell.bounds();
        AROUND.map(|(east, north)| {
            let is_beyond = (north < 0 && own.south < bounds.south)
                || (north > 0 && own.north > bounds.north)
                || (east < 0 && own.west < bounds.west)
                || (east > 0 && own.east > bounds.east);
            (steps < 2 || !is_beyond).then(|| cell.neighbour(east, north))
        })
    }

    fn bounds(&self) -> Bounds {
        let (width, height) = match &self.shape {
            Shape::Circle { radius } => (*radius, *radius),
            Shape::Rectangle { width, height } => (width / 2.0, height / 2.0),
            Shape::Polygon(corners) => return bounds_of(corners),
        };
        let Point { longitude, latitude } = self.center;
        let height = height / EARTH_RADIUS / RADIANS;
        // A parallel is shorter towards the pole: the side that is nearer to the equator counts.
        let side = if latitude < 0.0 { latitude - height } else { latitude + height };
        let width = width / EARTH_RADIUS / (side * RADIANS).cos() / RADIANS;
        Bounds {
            west: longitude - width,
            south: latitude - height,
            east: longitude + width,
            north: latitude + height,
        }
    }

    /// Meters from the center to what is farthest of it, about.
    fn radius(&self, bounds: Bounds) -> f64 {
        match &self.shape {
            Shape::Circle { radius } => *radius,
            Shape::Rectangle { width, height } => {
                let (width, height) = (width / 2.0, height / 2.0);
                (width * width + height * height).sqrt()
            }
            Shape::Polygon(_) => {
                let longitudes = [bounds.west, bounds.east];
                let corners = longitudes.into_iter().flat_map(|longitude| {
                    [bounds.north, bounds.south].map(|latitude| Point { longitude, latitude })
                });
                corners.map(|corner| self.center.distance(corner)).fold(0.0, f64::max)
            }
        }
    }
}

fn bounds_of(corners: &[Point]) -> Bounds {
    let longitudes = corners.iter().map(|corner| corner.longitude);
    let latitudes = corners.iter().map(|corner| corner.latitude);
    Bounds {
        west: longitudes.clone().fold(LONGITUDE_MAX, f64::min),
        south: latitudes.clone().fold(LATITUDE_MAX, f64::min),
        east: longitudes.fold(-LONGITUDE_MAX, f64::max),
        north: latitudes.fold(-LATITUDE_MAX, f64::max),
    }
}

/// How fine a grid may be so that a cell and its neighbours reach as far as this from the cell's middle.
fn steps_for(meters: f64, latitude: f64) -> u32 {
    if meters == 0.0 {
        return STEPS;
    }
    let (mut steps, mut reach) = (1i32, meters);
    while reach < MERCATOR_MAX {
        reach *= 2.0;
        steps += 1;
    }
    // Two less, so that the area is covered in most cases; towards the poles cells are narrower.
    let narrow = i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    (steps - 2 - narrow).clamp(1, STEPS as i32) as u32
}

fn covers_with_neighbours(cell: Cell, area: Bounds) -> bool {
    let side = |east, north| cell.neighbour(east, north).bounds();
    side(0, 1).north >= area.north
        && side(0, -1).south <= area.south
        && side(1, 0).east >= area.east
        && side(-1, 0).west <= area.west
}

/// Whether a ray from the point to the east meets an odd number of edges.
fn is_inside(corners: &[Point], point: Point) -> bool {
    let before = corners.iter().cycle().skip(corners.len() - 1);
    let crossed = corners.iter().zip(before).filter(|(a, b)| {
        (a.latitude > point.latitude) != (b.latitude > point.latitude)
            && point.longitude
                < (b.longitude - a.longitude) * (point.latitude - a.latitude) / (b.latitude - a.latitude)
                    + a.longitude
    });
    crossed.count() % 2 == 1
}
