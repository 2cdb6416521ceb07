"""Flags of absl and its application."""

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("steps", 1, "How many.", lower_bound=0)
flags.DEFINE_list("names", [], "Some names.")


def main(arguments: list[str]) -> int:
    print(arguments, FLAGS.steps, FLAGS.names, FLAGS.is_parsed())
    print(sorted(flag.name for flag in FLAGS.get_key_flags_for_module(arguments[0])))
    return 5


if __name__ == "__main__":
    app.run(main)
