//! Places: WGS-84 from the datums that Chinese maps use.
//!
//! GCJ-02 is WGS-84 bent by a published formula of sines; it has no closed inverse, so the inverse is found by repeated
//! correction. BD-09 is GCJ-02 bent once more by Baidu. Outside China neither differs from WGS-84.

use actors::model::Place;

/// What the coordinates of a source mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datum {
    /// GPS.
    Wgs84,
    /// Amap, Tencent, WeChat.
    Gcj02,
    /// Baidu.
    Bd09,
}

impl Datum {
    /// Its word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Datum::Wgs84 => "wgs84",
            Datum::Gcj02 => "gcj02",
            Datum::Bd09 => "bd09",
        }
    }

    /// From its word in any case, with or without `-`.
    pub fn from_word(word: &str) -> Option<Datum> {
        let plain = word.replace(['-', '_'], "").to_ascii_lowercase();
        [Datum::Wgs84, Datum::Gcj02, Datum::Bd09]
            .into_iter()
            .find(|d| d.as_str() == plain)
    }
}

/// A place from coordinates of `datum`. `None` outside the globe.
pub fn place(lat: f64, lon: f64, datum: Datum, accuracy_m: Option<f32>) -> Option<Place> {
    if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lon) {
        return None;
    }
    let (lat, lon) = match datum {
        Datum::Wgs84 => (lat, lon),
        Datum::Gcj02 => gcj_to_wgs(lat, lon),
        Datum::Bd09 => {
            let (lat, lon) = bd_to_gcj(lat, lon);
            gcj_to_wgs(lat, lon)
        }
    };
    Some(Place {
        lat: lat.clamp(-90.0, 90.0),
        lon: lon.clamp(-180.0, 180.0),
        accuracy_m,
    })
}

/// GCJ-02 from WGS-84.
pub fn wgs_to_gcj(lat: f64, lon: f64) -> (f64, f64) {
    if outside_china(lat, lon) {
        return (lat, lon);
    }
    let (dlat, dlon) = bend(lat, lon);
    (lat + dlat, lon + dlon)
}

/// WGS-84 from GCJ-02, to about a millimetre.
pub fn gcj_to_wgs(lat: f64, lon: f64) -> (f64, f64) {
    if outside_china(lat, lon) {
        return (lat, lon);
    }
    let (mut wlat, mut wlon) = (lat, lon);
    // Each round shrinks the error about a thousandfold: the bend changes by metres per kilometre.
    for _ in 0..4 {
        let (dlat, dlon) = bend(wlat, wlon);
        (wlat, wlon) = (lat - dlat, lon - dlon);
    }
    (wlat, wlon)
}

/// GCJ-02 from BD-09, to about half a metre: the published inverse is itself an approximation, so it is refined.
pub fn bd_to_gcj(lat: f64, lon: f64) -> (f64, f64) {
    let (mut glat, mut glon) = (lat - 0.006, lon - 0.0065);
    for _ in 0..6 {
        let (blat, blon) = gcj_to_bd(glat, glon);
        (glat, glon) = (glat + lat - blat, glon + lon - blon);
    }
    (glat, glon)
}

/// BD-09 from GCJ-02.
pub fn gcj_to_bd(lat: f64, lon: f64) -> (f64, f64) {
    const TURN: f64 = std::f64::consts::PI * 3000.0 / 180.0;
    let radius = lon.hypot(lat) + 0.000_02 * (lat * TURN).sin();
    let angle = lat.atan2(lon) + 0.000_003 * (lon * TURN).cos();
    (radius * angle.sin() + 0.006, radius * angle.cos() + 0.0065)
}

/// The box outside of which GCJ-02 is not bent.
fn outside_china(lat: f64, lon: f64) -> bool {
    !(72.004..=137.8347).contains(&lon) || !(0.8293..=55.8271).contains(&lat)
}

/// How far GCJ-02 bends a WGS-84 point, in degrees.
fn bend(lat: f64, lon: f64) -> (f64, f64) {
    use std::f64::consts::PI;
    /// Semi-major axis and squared eccentricity of the Krasovsky 1940 ellipsoid.
    const AXIS: f64 = 6_378_245.0;
    const ECCENTRICITY: f64 = 0.006_693_421_622_965_943;
    let (x, y) = (lon - 105.0, lat - 35.0);
    let waves = |v: f64, a: f64, b: f64, c: f64, d: f64| {
        (20.0 * (v * PI).sin() + 40.0 * (v / 3.0 * PI).sin()) * 2.0 / 3.0
            + (a * (v / c * PI).sin() + b * (v / d * PI).sin()) * 2.0 / 3.0
    };
    let common = (20.0 * (6.0 * x * PI).sin() + 20.0 * (2.0 * x * PI).sin()) * 2.0 / 3.0;
    let north = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * x.abs().sqrt()
        + common
        + waves(y, 160.0, 320.0, 12.0, 30.0);
    let east = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * x.abs().sqrt()
        + common
        + waves(x, 150.0, 300.0, 12.0, 30.0);
    let radians = lat / 180.0 * PI;
    let magic = 1.0 - ECCENTRICITY * radians.sin().powi(2);
    let root = magic.sqrt();
    (
        north * 180.0 / (AXIS * (1.0 - ECCENTRICITY) / (magic * root) * PI),
        east * 180.0 / (AXIS / root * radians.cos() * PI),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metres between two near points.
    fn metres(a: (f64, f64), b: (f64, f64)) -> f64 {
        let north = (a.0 - b.0) * 111_320.0;
        let east = (a.1 - b.1) * 111_320.0 * a.0.to_radians().cos();
        north.hypot(east)
    }

    #[test]
    fn published_pairs_agree() {
        // Vectors of the eviltransform library: Shanghai, Shenzhen, Beijing.
        for (wgs, gcj) in [
            (
                (31.177_427_6, 121.527_210_6),
                (31.175_303_983_645_97, 121.531_541_859_215),
            ),
            (
                (22.543_847, 113.912_316),
                (22.540_796_131_694_766, 113.917_176_480_836_3),
            ),
            (
                (39.911_954, 116.377_817),
                (39.913_345_455_360_69, 116.384_047_224_556_57),
            ),
        ] {
            let got = wgs_to_gcj(wgs.0, wgs.1);
            assert!(
                metres(got, gcj) < 1.0,
                "{wgs:?} gives {got:?}, expected {gcj:?}"
            );
        }
    }

    #[test]
    fn there_and_back_is_less_than_a_metre() {
        for lat in (2..=54).map(f64::from) {
            for lon in (74..=136).map(f64::from) {
                let gcj = wgs_to_gcj(lat, lon);
                assert!(
                    metres(gcj_to_wgs(gcj.0, gcj.1), (lat, lon)) < 0.01,
                    "{lat} {lon}"
                );
                let bd = gcj_to_bd(gcj.0, gcj.1);
                let back = place(bd.0, bd.1, Datum::Bd09, None).expect("on the globe");
                assert!(
                    metres((back.lat, back.lon), (lat, lon)) < 0.1,
                    "{lat} {lon}"
                );
            }
        }
    }

    #[test]
    fn abroad_nothing_is_bent() {
        assert_eq!(wgs_to_gcj(51.5, -0.12), (51.5, -0.12));
        let london = place(51.5, -0.12, Datum::Gcj02, None).expect("on the globe");
        assert_eq!((london.lat, london.lon), (51.5, -0.12));
        assert_eq!(place(91.0, 0.0, Datum::Wgs84, None), None);
        assert_eq!(place(f64::NAN, 0.0, Datum::Wgs84, None), None);
    }
}
