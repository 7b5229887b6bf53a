"""The state that the log comes to, followed by Python's own means."""

import copy
import json

TRACK_FIELDS = ("name", "kind", "input", "input_gain_db", "volume", "pan", "mute", "solo", "sends")
PLUGIN_FIELDS = ("plugin_id", "name", "plugin_path", "bypassed", "parameters", "substituted_for")


def plain(snapshot):
    """What of a `state.snapshot` has to survive."""
    tracks = []
    for track in snapshot["tracks"]:
        plugins = [{name: plugin.get(name) for name in PLUGIN_FIELDS} for plugin in track["plugins"]]
        fields = {name: track[name] for name in TRACK_FIELDS}
        tracks.append({"track_id": track["track_id"], **fields, "plugins": plugins})
    return {"tracks": tracks, "panic": snapshot["panic"]}


class Model:
    """The state that the rows of the log come to, from the state at its beginning."""

    def __init__(self, beginning):
        self.state = copy.deepcopy(beginning)
        self.presets = {}

    def track(self, track_id):
        return next(track for track in self.state["tracks"] if track["track_id"] == track_id)

    def plugin(self, plugin_id):
        """Its chain, and where it is in it."""
        for track in self.state["tracks"]:
            for index, plugin in enumerate(track["plugins"]):
                if plugin["plugin_id"] == plugin_id:
                    return track["plugins"], index
        raise AssertionError(f"the log tells of {plugin_id}, which is not there")

    def follow(self, row):
        details = json.loads(row["details"])
        entity = row["entity_id"]
        getattr(self, row["action"].replace(".", "_"))(entity, details)

    def plugin_add(self, plugin_id, details):
        plugin = {
            "plugin_id": plugin_id,
            "name": details["name"],
            "plugin_path": details["plugin_path"],
            "bypassed": False,
            "parameters": details["parameters"],
            "substituted_for": details.get("substituted_for"),
        }
        self.track(details["track_id"])["plugins"].insert(details["position"], plugin)

    def plugin_remove(self, plugin_id, _):
        chain, index = self.plugin(plugin_id)
        del chain[index]

    def plugin_parameter(self, plugin_id, details):
        chain, index = self.plugin(plugin_id)
        values = chain[index]["parameters"]
        for name, change in details["changes"].items():
            assert values[name] == change["from"], f"{plugin_id}.{name}: {change} from {values[name]}"
            assert change["count"] > 0
            values[name] = change["to"]

    def plugin_bypass(self, plugin_id, details):
        chain, index = self.plugin(plugin_id)
        chain[index]["bypassed"] = details["bypass"]

    def plugin_preset(self, plugin_id, details):
        chain, index = self.plugin(plugin_id)
        chain[index]["parameters"] = details["parameters"]

    def plugin_preset_save(self, plugin_id, details):
        chain, index = self.plugin(plugin_id)
        self.presets[chain[index]["plugin_path"], details["preset_name"]] = details["parameters"]

    def plugin_move(self, plugin_id, details):
        chain, _ = self.plugin(plugin_id)
        chain.sort(key=lambda plugin: details["order"].index(plugin["plugin_id"]))

    def track_add(self, track_id, details):
        track = {"track_id": track_id, **{name: details[name] for name in TRACK_FIELDS}, "plugins": []}
        self.state["tracks"].insert(-1, track)

    def track_remove(self, track_id, _):
        self.state["tracks"].remove(self.track(track_id))
        for track in self.state["tracks"]:
            track["sends"].pop(track_id, None)

    def track_update(self, track_id, details):
        track = self.track(track_id)
        for name, change in details["changes"].items():
            assert track[name] == change["from"], f"{track_id}.{name}: {change} from {track[name]}"
            track[name] = change["to"]

    def track_preset(self, track_id, details):
        """The changes before it made it so."""

    def track_preset_save(self, track_id, details):
        paths = [plugin["plugin_path"] for plugin in self.track(track_id)["plugins"]]
        assert paths == details["plugins"]

    def rig_panic(self, _, details):
        self.state["panic"] = details["mode"]

    def rig_restore(self, *_):
        self.state["panic"] = None

    def rig_gap(self, _, details):
        """What is missing is in the state and not in the log."""
