//! WAV files: what is read, at which rate, what is refused in which words, and recordings that are
//! valid however they end.

#[path = "common/emulation.rs"]
mod emulation;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavSpec};
use rigd::backend::Deck;
use rigd::backend::file::FileRun;
use rigd::ring::rings;
use rigd::wav::{
    HEADER_BYTES, INPUT_CHANNELS_MAX, MUSIC_CHANNELS_MAX, Problem, WavWriter, WriteError, keep,
    read, resample,
};
use rigd_rt::Engine;

/// A folder that goes away with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("rigd-wav-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn spec(channels: u16, rate: u32, bits: u16, sample_format: SampleFormat) -> WavSpec {
    WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: bits,
        sample_format,
    }
}

fn write_ints(path: &Path, spec: WavSpec, samples: &[i32]) {
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in samples {
        writer.write_sample(*sample).unwrap();
    }
    writer.finalize().unwrap();
}

fn write_floats(path: &Path, spec: WavSpec, samples: &[f32]) {
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in samples {
        writer.write_sample(*sample).unwrap();
    }
    writer.finalize().unwrap();
}

fn refused(path: &Path, channels_max: u16) -> String {
    let error = read(path, channels_max, 48_000).expect_err("this file is faulty");
    let text = error.to_string();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(name), "names the file: {text}");
    text
}

#[test]
fn integers_of_every_width_are_read_at_full_scale() {
    let scratch = Scratch::new("ints");
    for bits in [16_u16, 24, 32] {
        let path = scratch.file(&format!("{bits}.wav"));
        let full = (1_i64 << (bits - 1)) as f64;
        let half = (full / 2.0) as i32;
        let lowest = -full as i64 as i32;
        write_ints(
            &path,
            spec(2, 48_000, bits, SampleFormat::Int),
            &[half, -half, 0, lowest, half / 2, 1],
        );
        let channels = read(&path, 2, 48_000).unwrap();
        assert_eq!(channels[0], [0.5, 0.0, 0.25], "{bits} bits");
        assert_eq!(
            channels[1],
            [-0.5, -1.0, (1.0 / full) as f32],
            "{bits} bits"
        );
    }
}

#[test]
fn floats_are_read_bit_by_bit_and_nan_stays() {
    let scratch = Scratch::new("floats");
    let path = scratch.file("float.wav");
    let samples = [0.1, -2.5, f32::NAN, f32::INFINITY, 1e-40, -0.0];
    write_floats(&path, spec(1, 48_000, 32, SampleFormat::Float), &samples);
    let channels = read(&path, 1, 48_000).unwrap();
    let bits = |samples: &[f32]| -> Vec<u32> { samples.iter().map(|s| s.to_bits()).collect() };
    assert_eq!(bits(&channels[0]), bits(&samples));
}

#[test]
fn sixteen_channels_are_read_and_seventeen_refused() {
    let scratch = Scratch::new("channels");
    let path = scratch.file("many.wav");
    for count in [16_u16, 17] {
        let samples: Vec<i32> = (0..i32::from(count)).map(|n| n * 256).collect();
        write_ints(&path, spec(count, 48_000, 16, SampleFormat::Int), &samples);
        if count == 16 {
            let channels = read(&path, INPUT_CHANNELS_MAX, 48_000).unwrap();
            assert_eq!(channels.len(), 16);
            assert_eq!(channels[15], [15.0 / 128.0]);
            let told = refused(&path, MUSIC_CHANNELS_MAX);
            assert!(told.contains("16 channels, and at most 2"), "{told}");
        } else {
            let told = refused(&path, INPUT_CHANNELS_MAX);
            assert!(told.contains("17 channels, and at most 16"), "{told}");
        }
    }
}

#[test]
fn each_faulty_file_is_refused_with_what_to_do() {
    let scratch = Scratch::new("faulty");
    assert!(refused(&scratch.file("missing.wav"), 2).contains("check the name"));
    std::fs::create_dir(scratch.file("folder.wav")).unwrap();
    assert!(refused(&scratch.file("folder.wav"), 2).contains("is not a file"));

    let path = scratch.file("x.wav");
    std::fs::write(&path, b"").unwrap();
    assert!(refused(&path, 2).contains("holds no sound"));
    std::fs::write(&path, b"RIFF").unwrap();
    assert!(refused(&path, 2).contains("too short"));
    std::fs::write(&path, b"ID3\x04 this is an MP3 file, not a WAV file").unwrap();
    assert!(refused(&path, 2).contains("convert it to WAV"));
    write_ints(&path, spec(1, 48_000, 16, SampleFormat::Int), &[]);
    assert!(refused(&path, 2).contains("holds no sound"));

    write_ints(&path, spec(1, 48_000, 16, SampleFormat::Int), &[1; 100]);
    let whole = std::fs::read(&path).unwrap();
    for length in 1..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(read(&path, 2, 48_000).is_err(), "{length} bytes of it");
    }
    std::fs::write(&path, &whole[..whole.len() - 50]).unwrap();
    assert!(refused(&path, 2).contains("150 of 200 bytes"));

    let patched = |at: usize, bytes: &[u8]| {
        std::fs::write(&path, &whole).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(bytes, at as u64).unwrap();
        refused(&path, 2)
    };
    assert!(
        patched(20, &[0x55, 0]).contains("does not read"),
        "MP3 in WAV"
    );
    assert!(patched(22, &[0, 0]).contains("zero channels"));
    let rate = [1, 0, 0, 0, 2, 0, 0, 0];
    assert!(patched(24, &rate).contains("1 frames per second"));
    assert!(patched(34, &[12, 0]).contains("not a multiple of 8"));
}

#[test]
fn a_file_that_would_not_fit_into_memory_is_refused() {
    let scratch = Scratch::new("long");
    let path = scratch.file("long.wav");
    write_ints(&path, spec(2, 48_000, 16, SampleFormat::Int), &[0, 0]);
    // A sparse file: 31 minutes that take no room on the disk.
    let bytes = 31 * 60 * 48_000 * 4_u32;
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&bytes.to_le_bytes(), 40).unwrap();
    file.set_len(44 + u64::from(bytes)).unwrap();
    let told = refused(&path, 2);
    assert!(
        told.contains("31.0 minutes") && told.contains("30.0 minutes"),
        "{told}"
    );
    let error = read(&path, 2, 8_000).unwrap_err();
    assert!(matches!(error.problem, Problem::TooLong { .. }), "{error}");
}

#[test]
fn odd_chunks_and_unknown_lengths_are_met() {
    let scratch = Scratch::new("odd");
    let path = scratch.file("odd.wav");
    write_ints(&path, spec(1, 48_000, 16, SampleFormat::Int), &[256, 512]);
    let plain = std::fs::read(&path).unwrap();

    // An odd chunk and its padding before the sound, and a chunk behind it.
    let mut odd = plain[..36].to_vec();
    odd.extend(b"LIST\x03\0\0\0abc\0");
    odd.extend(&plain[36..]);
    odd.extend(b"LIST\x04\0\0\0abcd");
    std::fs::write(&path, &odd).unwrap();
    assert_eq!(
        read(&path, 1, 48_000).unwrap(),
        [[1.0 / 128.0, 2.0 / 128.0]]
    );

    // A recorder that wrote into a pipe did not know the length; the last frame is half.
    let mut piped = plain.clone();
    piped[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    piped.push(7);
    std::fs::write(&path, &piped).unwrap();
    assert_eq!(
        read(&path, 1, 48_000).unwrap(),
        [[1.0 / 128.0, 2.0 / 128.0]]
    );
}

fn sine(hz: f64, rate: u32, frames: usize) -> Vec<f32> {
    (0..frames)
        .map(|n| {
            let phase = 2.0 * std::f64::consts::PI * hz * n as f64 / f64::from(rate);
            (0.5 * libm::sin(phase)) as f32
        })
        .collect()
}

fn level_db(samples: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = samples.fold((0.0, 0), |(sum, count), s| (sum + s * s, count + 1));
    10.0 * (sum / f64::from(count)).log10()
}

#[test]
fn resampling_keeps_time_and_length() {
    for (rate_in, rate_out) in [
        (44_100, 48_000),
        (48_000, 44_100),
        (8_000, 192_000),
        (192_000, 8_000),
        (96_000, 48_000),
        (22_050, 48_000),
        (44_101, 48_000),
    ] {
        let frames = rate_in as usize / 2 + 17;
        let made = resample(sine(440.0, rate_in, frames), rate_in, rate_out);
        let exact = frames as f64 * f64::from(rate_out) / f64::from(rate_in);
        assert_eq!(
            made.len(),
            exact.round() as usize,
            "{rate_in} to {rate_out}"
        );
        // The same sine at the other rate: any delay or drift would show as a difference.
        let ideal = sine(440.0, rate_out, made.len());
        let edge = made.len() / 8;
        let middle = edge..made.len() - edge;
        let error = level_db(middle.map(|n| f64::from(made[n]) - f64::from(ideal[n])));
        assert!(error < -100.0, "{rate_in} to {rate_out}: {error} dB");
    }
}

#[test]
fn resampling_keeps_the_treble_and_adds_no_alias() {
    let middle = |samples: Vec<f32>| {
        let edge = samples.len() / 4;
        level_db(
            samples[edge..samples.len() - edge]
                .iter()
                .map(|s| f64::from(*s)),
        )
    };
    let full = middle(sine(1_000.0, 48_000, 48_000));
    let treble = middle(resample(sine(19_000.0, 44_100, 44_100), 44_100, 48_000));
    assert!((treble - full).abs() < 0.05, "{treble} dB, {full} dB");
    let alias = middle(resample(sine(30_000.0, 96_000, 96_000), 96_000, 48_000));
    assert!(alias < -110.0, "{alias} dB");
}

#[test]
fn resampling_takes_tiny_and_broken_channels() {
    assert_eq!(resample(Vec::new(), 44_100, 48_000), Vec::<f32>::new());
    assert_eq!(resample(vec![1.0], 8_000, 48_000).len(), 6);
    assert_eq!(resample(vec![1.0; 3], 48_000, 8_000).len(), 1);
    let mut channel = sine(440.0, 44_100, 4_410);
    channel[2_000] = f32::NAN;
    channel[2_001] = f32::NEG_INFINITY;
    let made = resample(channel, 44_100, 48_000);
    assert!(made.iter().all(|sample| sample.is_finite()));
}

#[test]
fn a_file_is_resampled_on_reading() {
    let scratch = Scratch::new("rate");
    let path = scratch.file("44k.wav");
    let samples: Vec<f32> = sine(440.0, 44_100, 44_100)
        .into_iter()
        .flat_map(|sample| [sample, -sample])
        .collect();
    write_floats(&path, spec(2, 44_100, 32, SampleFormat::Float), &samples);
    let channels = read(&path, 2, 48_000).unwrap();
    assert_eq!(channels.len(), 2);
    assert_eq!([channels[0].len(), channels[1].len()], [48_000; 2]);
    assert!(channels[0].iter().zip(&channels[1]).all(|(l, r)| *l == -*r));
}

#[test]
fn a_recording_reads_back_bit_by_bit() {
    let scratch = Scratch::new("record");
    let path = scratch.file("out.wav");
    let left: Vec<f32> = (0..20_000).map(|n| n as f32 * 1e-4 - 1.0).collect();
    let right: Vec<f32> = left.iter().map(|sample| -sample * 3.0).collect();
    let mut writer = WavWriter::create(&path, 44_100).unwrap();
    for at in [0..1, 1..10_000, 10_000..20_000] {
        writer.write(&left[at.clone()], &right[at]).unwrap();
    }
    assert_eq!(writer.frames(), 20_000);
    writer.finish().unwrap();

    let reader = hound::WavReader::open(&path).unwrap();
    assert_eq!(reader.spec(), spec(2, 44_100, 32, SampleFormat::Float));
    assert_eq!(reader.duration(), 20_000);
    assert_eq!(read(&path, 2, 44_100).unwrap(), [left, right]);
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert_eq!(bytes, HEADER_BYTES + 20_000 * 8);
    let riff = u32::from_le_bytes(std::fs::read(&path).unwrap()[4..8].try_into().unwrap());
    assert_eq!(u64::from(riff), bytes - 8);
}

#[test]
fn a_recording_is_valid_at_every_moment() {
    let scratch = Scratch::new("early");
    let path = scratch.file("out.wav");
    let mut writer = WavWriter::create(&path, 48_000).unwrap();
    assert_eq!(hound::WavReader::open(&path).unwrap().duration(), 0);
    for _ in 0..10 {
        writer.write(&[0.5; 7_000], &[0.5; 7_000]).unwrap();
        // As another process would find it, were this one gone now.
        let reader = hound::WavReader::open(&path).unwrap();
        let frames = reader.duration();
        assert!(u64::from(frames) + 8_192 >= writer.frames());
        assert_eq!(
            reader.into_samples::<f32>().filter(Result::is_ok).count() as u32,
            2 * frames
        );
    }
    drop(writer);
    assert_eq!(hound::WavReader::open(&path).unwrap().duration(), 70_000);
}

#[test]
fn a_full_disk_is_told_and_does_not_panic() {
    let full = Path::new("/dev/full");
    let told = match WavWriter::create(full, 48_000) {
        Ok(_) => panic!("a full disk took a header"),
        Err(error) => error,
    };
    assert_eq!(told.source.kind(), std::io::ErrorKind::StorageFull);
    let text = told.to_string();
    assert!(
        text.contains("disk is full") && text.contains("/dev/full"),
        "{text}"
    );
    let io: std::io::Error = told.into();
    assert_eq!(io.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn a_recording_that_cannot_go_on_keeps_what_fitted() {
    // A limit on the size of files stands in for a full disk; it holds for the whole process, so
    // the recording runs in a child.
    if let Some(path) = std::env::var_os("RIGD_TEST_LIMITED") {
        return limited(Path::new(&path));
    }
    let scratch = Scratch::new("limited");
    let path = scratch.file("out.wav");
    let name = "a_recording_that_cannot_go_on_keeps_what_fitted";
    let status = emulation::command(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env("RIGD_TEST_LIMITED", &path)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let reader = hound::WavReader::open(&path).unwrap();
    assert_eq!(reader.duration(), (100_000 - 58) / 8);
    assert!(reader.into_samples::<f32>().all(|s| s.unwrap() == 0.25));
}

fn limited(path: &Path) {
    let limit = libc::rlimit {
        rlim_cur: 100_000,
        rlim_max: 100_000,
    };
    // SAFETY: plain system calls; the pointer is to a live struct.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
    let mut writer = WavWriter::create(path, 48_000).unwrap();
    let frames = vec![0.25; 50_000];
    let error: WriteError = writer.write(&frames, &frames).unwrap_err();
    assert_eq!(error.frames_kept, (100_000 - 58) / 8);
    assert!(error.to_string().contains("start another"), "{error}");
    assert!(writer.push([0.0; 2]).is_err(), "it stays closed");
    assert!(writer.finish().is_err());
}

fn deck() -> Deck {
    let pool = Box::leak(vec![0.0; 1 << 16].into_boxed_slice());
    let (_control, ends) = rings();
    Deck::new(Box::new(Engine::new(48_000, 0, pool)), ends, 48_000)
}

#[test]
fn a_run_is_exactly_as_long_as_its_longest_input() {
    let scratch = Scratch::new("run");
    let path = scratch.file("out.wav");
    let inputs = vec![vec![0.1; 1_001], vec![0.1; 500], vec![]];
    let writer = WavWriter::create(&path, 48_000).unwrap();
    let mut run = FileRun::new(deck(), inputs, 64, writer);
    assert_eq!((run.frames(), run.position()), (1_001, 0));
    assert_eq!(run.advance(3).unwrap(), 3);
    assert_eq!(run.advance(0).unwrap(), 0);
    assert_eq!(run.advance(900).unwrap(), 900);
    assert_eq!(run.position(), 903);
    assert_eq!(run.advance(u64::MAX).unwrap(), 98);
    assert_eq!(run.advance(1).unwrap(), 0);
    let deck = run.finish().unwrap();
    assert_eq!(deck.frame(), 1_001);
    assert_eq!(hound::WavReader::open(&path).unwrap().duration(), 1_001);
}

#[test]
fn a_run_that_ends_early_leaves_a_valid_file() {
    let scratch = Scratch::new("stopped");
    let path = scratch.file("out.wav");
    let writer = WavWriter::create(&path, 48_000).unwrap();
    let mut run = FileRun::new(deck(), vec![vec![0.1; 10_000]], 441, writer);
    run.advance(5_000).unwrap();
    drop(run);
    assert_eq!(hound::WavReader::open(&path).unwrap().duration(), 5_000);
}

#[test]
fn what_is_played_is_not_recorded_over() {
    let scratch = Scratch::new("keep");
    let song = scratch.file("song.wav");
    let link = scratch.file("link.wav");
    write_ints(&song, spec(1, 48_000, 16, SampleFormat::Int), &[1]);
    std::os::unix::fs::symlink(&song, &link).unwrap();
    let told = keep(&link, &song).unwrap_err().to_string();
    assert!(told.contains("would be overwritten"), "{told}");
    assert!(keep(&scratch.file("new.wav"), &song).is_ok());
}
