//! The `ninefold` command.

fn main() -> std::process::ExitCode {
    ninefold::cli::run()
}
